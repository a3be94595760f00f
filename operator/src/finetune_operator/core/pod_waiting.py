"""Why a pod does not run yet, in the words of the scheduler or of the kubelet."""

from collections.abc import Iterable

from finetune_operator.core.objects import Manifest

# What every pod goes through.
_PASSING = ("ContainerCreating", "PodInitializing")


def waiting_of(pods: Iterable[Manifest]) -> str:
    """Return why the first of the pods that wait does; an empty string when none does."""
    return next((reason for pod in pods if (reason := _waiting(pod))), "")


def _waiting(pod: Manifest) -> str:
    status = pod.get("status", {})
    if status.get("phase") != "Pending":
        return ""
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message", ""))
    for container in status.get("containerStatuses", []):
        state = container.get("state", {}).get("waiting") or {}
        if state.get("reason") and state["reason"] not in _PASSING:
            return ": ".join(part for part in (state["reason"], state.get("message")) if part)
    return ""
