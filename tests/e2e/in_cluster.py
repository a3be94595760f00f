"""A namespace of a test, and its volume."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from cluster.commands import Run
from waiting import until

ROOT = Path(__file__).parents[2]
POD_USER = 65532


@dataclass(frozen=True, kw_only=True)
class InCluster:
    """`volumes`: where the cluster keeps claims, a folder a namespace."""

    kubectl: Run
    volumes: Path
    namespace: str = field(default_factory=lambda: f"e2e-{uuid4().hex[:6]}")

    @property
    def volume(self) -> Path:
        return self.volumes / self.namespace / "models"

    def create(self) -> None:
        self.kubectl("create", "namespace", self.namespace)
        self.kubectl("label", "namespace", self.namespace, "pod-security.kubernetes.io/enforce=restricted")
        self.apply((ROOT / "examples/storage/volume.yaml").read_text())
        until("a volume", self.volume.is_dir)
        accounts = ("get", "serviceaccount", "default")
        until("a service account", lambda: self.kubectl(*accounts, "-n", self.namespace, check=False).stdout)

    def delete(self) -> None:
        self.kubectl("delete", "namespace", self.namespace, "--wait=false")

    def run(self, *arguments: str, check: bool = True) -> str:
        return str(self.kubectl(*arguments, f"--namespace={self.namespace}", check=check).stdout)

    def apply(self, manifests: str) -> None:
        self.kubectl("apply", f"--namespace={self.namespace}", "--filename=-", stdin=manifests)

    def get(self, kind: str, name: str) -> Any:
        return json.loads(self.run("get", kind, name, "--output=json"))
