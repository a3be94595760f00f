"""Pods of a Kubernetes without nodes: a test says how those of a stage end; servers become ready."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kubernetes import client
from parents import Parents
from waiting import until

COMPONENT = "app.kubernetes.io/component"
STARTED = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How the containers of a pod end."""

    code: int = 0
    message: str = ""
    disrupted: bool = False


DRAINED = Ended(code=143, disrupted=True)
Ends = dict[str, Ended]
"""By the end of the Job's name, such as train-0; others end well."""


@dataclass(frozen=True)
class OldestLife:
    api: client.ApiClient
    namespace: str

    @cached_property
    def parents(self) -> Parents:
        return Parents(api=self.api, namespace=self.namespace)

    def until(self, kind: str, name: str, type_: str, ends: Ends) -> Any:
        """Play the pods until a condition is True, and return it."""

        def look() -> dict[str, Any] | None:
            self._play(ends)
            seen = self.parents.condition(kind, name, type_)
            return seen if seen.get("status") == "True" else None

        return until(f"{type_} of {kind} {name}", look)

    def _play(self, ends: Ends) -> None:
        core = client.CoreV1Api(self.api)
        for pod in core.list_pod_for_all_namespaces().items:
            labels = pod.metadata.labels or {}
            if pod.status.phase != "Pending" or pod.metadata.deletion_timestamp:
                continue
            job = labels.get("batch.kubernetes.io/job-name")
            end = next((end for name, end in ends.items() if job and job.endswith(name)), Ended())
            status = _ended(pod, end) if job else _ready(pod)
            core.patch_namespaced_pod_status(pod.metadata.name, pod.metadata.namespace, {"status": status})


def _ended(pod: client.V1Pod, end: Ended) -> dict[str, Any]:
    """As the kubelet writes it; the kubelet's clock is of no account."""
    state = {
        "exitCode": end.code,
        "message": end.message,
        "startedAt": STARTED,
        "finishedAt": STARTED,
        "reason": "Error" if end.code else "Completed",
    }
    target = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    return {
        "phase": "Failed" if end.code else "Succeeded",
        "conditions": [target] if end.disrupted else [],
        "containerStatuses": _statuses(pod, {"terminated": state}, ready=False),
    }


def _ready(pod: client.V1Pod) -> dict[str, Any]:
    true = [{"type": type_, "status": "True"} for type_ in ("PodScheduled", "ContainersReady", "Ready")]
    running = {"running": {"startedAt": STARTED}}
    return {
        "phase": "Running",
        "conditions": true,
        "containerStatuses": _statuses(pod, running, ready=True),
    }


def _statuses(pod: client.V1Pod, state: dict[str, Any], *, ready: bool) -> list[dict[str, Any]]:
    return [
        {
            "name": each.name,
            "image": each.image,
            "imageID": "",
            "ready": ready,
            "started": ready,
            "restartCount": 0,
            "state": state,
        }
        for each in pod.spec.containers
    ]
