"""The API server's account of who asked what, and when: no watch of ours loads it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cluster.controlplane import ControlPlane

APPLIER = "admin"
KUBELETS = "kwok"
JOB_CONTROLLER = "system:kube-controller-manager"


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request; `received` and `answered` are the API server's times, in seconds."""

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int
    received: float
    answered: float


@dataclass(kw_only=True)
class AuditedControlPlane(ControlPlane):
    """Writes down every request of `users`, and those of others that say when an object came to be."""

    users: tuple[str, ...]

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"

    def _apiserver(self) -> list[str]:
        policy = self.folder / "audit-policy.json"
        policy.write_text(json.dumps(_policy(self.users)))
        return [
            *super()._apiserver(),
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self.audit_log}",
            "--audit-log-maxsize=100000",
        ]


@dataclass(kw_only=True)
class AuditLog:
    """The requests so far, in the order of their answers."""

    file: Path
    requests: list[Request] = field(default_factory=list)
    _offset: int = 0

    def read(self) -> list[Request]:
        """Takes up what is new; all requests."""
        with self.file.open("rb") as log:
            log.seek(self._offset)
            lines = log.read()
        complete = lines[: lines.rfind(b"\n") + 1]
        self._offset += len(complete)
        self.requests += map(_request, complete.splitlines())
        return self.requests

    def since(self, mark: int) -> list[Request]:
        """The requests after the first `mark`."""
        return self.read()[mark:]

    def mark(self) -> int:
        return len(self.read())


def _policy(users: Iterable[str]) -> dict[str, Any]:
    parents = [{"group": "finetune.dev"}, {"group": "trainer.kubeflow.org"}]
    rules = [
        {"users": list(users)},
        {"users": [APPLIER], "verbs": ["create"], "resources": parents},
        {"users": [KUBELETS], "resources": [{"group": "", "resources": ["pods/status"]}]},
        {"users": [JOB_CONTROLLER], "resources": [{"group": "batch", "resources": ["jobs/status"]}]},
    ]
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        # A watch is logged once too, when it ends.
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [*({"level": "Metadata"} | rule for rule in rules), {"level": "None"}],
    }


def _request(line: bytes) -> Request:
    event = json.loads(line)
    target = event.get("objectRef", {})
    resource, subresource = target.get("resource", event["requestURI"]), target.get("subresource")
    return Request(
        user=event["user"]["username"],
        verb=event["verb"],
        resource=f"{resource}/{subresource}" if subresource else resource,
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        received=_seconds(event["requestReceivedTimestamp"]),
        answered=_seconds(event["stageTimestamp"]),
    )


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
