"""The pod to look at when something failed."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from finetune_operator.core.objects import Manifest
from finetune_operator.local.layout import Layout


@dataclass(frozen=True, kw_only=True)
class FailedPod:
    """Its exit code, and the file that holds its output."""

    exit_code: int
    log: Path


def newest_failed_pod(pods: Iterable[Manifest], layout: Layout) -> FailedPod | None:
    """Return the pod that failed last."""
    ends = [
        (str(state["terminated"]["finishedAt"]), state["terminated"]["exitCode"], pod["metadata"])
        for pod in pods
        for status in pod.get("status", {}).get("containerStatuses", [])
        for state in (status["state"], status["lastState"])
        if state.get("terminated", {}).get("exitCode")
    ]
    if not ends:
        return None
    _, exit_code, metadata = max(ends, key=lambda end: end[0])
    return FailedPod(exit_code=exit_code, log=layout.log(metadata["namespace"], metadata["name"]))
