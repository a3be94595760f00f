"""A namespace of a test, its volume, and what its jobs came to."""

import json
import os
import shutil
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from cluster.commands import Run
from cluster.real.node import REGISTRY
from demo_base import built_tiny_base
from waiting import HANG_SECONDS, until

ROOT = Path(__file__).parents[2]
POD_USER = 65532
SYSTEM = "finetune-system"
TWO_ON_TWO_CPUS = {"resources": {"requests": {"cpu": "800m"}}}
"""Overrides by which two pods find room beside the operator's on a node of two CPUs."""
TOGETHER = TWO_ON_TWO_CPUS | {"affinity": {"podAntiAffinity": {}}}
"""The same for pods of one job, which are otherwise kept apart: there is one node."""


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

    def fill(self) -> None:
        """The claim: with the demo's base model and dataset."""
        shutil.copytree(built_tiny_base(), self.volume / "models/tiny-base")
        (self.volume / "datasets").mkdir()
        shutil.copy(ROOT / "examples/data/faq.jsonl", self.volume / "datasets")
        self.hand_over()

    def hand_over(self) -> None:
        """To the user that the pods run as, as whoever fills a volume must."""
        for path in (self.volume, *self.volume.rglob("*")):
            os.chown(path, POD_USER, POD_USER)

    def delete(self) -> None:
        self.kubectl("delete", "namespace", self.namespace, "--wait=false")

    def run(self, *arguments: str, check: bool = True) -> str:
        return str(self.kubectl(*arguments, f"--namespace={self.namespace}", check=check).stdout)

    def apply(self, manifests: str) -> None:
        self.kubectl("apply", f"--namespace={self.namespace}", "--filename=-", stdin=manifests)

    def get(self, kind: str, name: str) -> Any:
        return json.loads(self.run("get", kind, name, "--output=json"))

    def pods(self, selector: str) -> list[Any]:
        found = self.run("get", "pods", f"--selector={selector}", "--output=json")
        return list(json.loads(found)["items"])

    def events(self, selector: str) -> list[Any]:
        return list(json.loads(self.run("get", "events", selector, "--output=json"))["items"])

    def condition(self, kind: str, name: str, of: str) -> dict[str, Any]:
        conditions = self.get(kind, name).get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == of), {})

    def wait_until_complete(self, name: str) -> None:
        """Fails as soon as the job has."""

        def ended() -> bool:
            failed = self.condition("finetunejob", name, "Failed")
            assert failed.get("status") != "True", failed
            return self.condition("finetunejob", name, "Complete").get("status") == "True"

        until(f"{name} complete", ended, timeout=3 * HANG_SECONDS)  # all its stages

    def registry(self, path: str) -> Any:
        """What the cluster's registry answers."""
        with urllib.request.urlopen(f"http://{REGISTRY}/v2/{path}") as answer:
            return json.load(answer)

    def url(self, deployment: str) -> str:
        """Of the Service, which the machine reaches as pods do."""
        service = self.get("service", deployment)["spec"]
        return f"http://{service['clusterIP']}:{service['ports'][0]['port']}/v1/chat/completions"

    def ask(self, deployment: str, question: str) -> str:
        """A chat answer. Raises URLError or OSError when there is none."""
        messages = [{"role": "user", "content": question}]
        body = {"model": deployment, "messages": messages, "max_tokens": 60, "temperature": 0}
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url(deployment), json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return str(json.load(answer)["choices"][0]["message"]["content"]).strip()


def quickstart() -> tuple[dict[str, Any], dict[str, Any]]:
    """Its FineTuneJob and its ModelDeployment."""
    job, deployment = yaml.safe_load_all((ROOT / "examples/quickstart.yaml").read_text())
    return job, deployment
