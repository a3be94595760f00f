"""Containers of a pod: ours by their names; what others end with means what their makers say."""

from collections.abc import Iterable, Iterator

from finetune_operator.api.container import OUR_CONTAINERS
from finetune_operator.core.conditions import time_of
from finetune_operator.core.objects import Manifest
from finetune_operator.core.termination import (
    Termination,
    killed_for_memory,
    not_started,
    other_container_failed,
    parse_termination,
)


def statuses_of(status: Manifest) -> Iterator[Manifest]:
    """Yield the statuses of a pod's containers, those that come first first."""
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def is_ours(container: Manifest) -> bool:
    """Return whether the operator put a container into its pod."""
    return container["name"] in OUR_CONTAINERS


def failures(ours: Iterable[Manifest], state: str) -> Iterator[Termination]:
    """Yield how our containers failed, by `state` or by `lastState`."""
    for container in ours:
        end = container.get(state, {}).get("terminated")
        if end and end["exitCode"] != 0:
            moment = time_of(end.get("finishedAt"))
            if end.get("reason") == "OOMKilled":
                yield killed_for_memory(moment)
            elif end.get("reason") in ("StartError", "ContainerCannotRun"):
                yield not_started(end.get("message", ""), moment)
            else:
                yield parse_termination(end["exitCode"], end.get("message", ""), moment)


def failures_of_others(pod: Manifest) -> Iterator[Termination]:
    """Yield how containers failed that are none of ours, where that fails the pod.

    A native sidecar's exit code fails no pod.
    https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#jobs-with-sidecar-containers
    """
    sidecars = native_sidecars(pod)
    for container in statuses_of(pod.get("status", {})):
        end = container.get("state", {}).get("terminated")
        name = container["name"]
        if end and end["exitCode"] != 0 and not is_ours(container) and name not in sidecars:
            moment = time_of(end.get("finishedAt"))
            yield other_container_failed(name, end["exitCode"], end.get("message", ""), moment)


def native_sidecars(pod: Manifest) -> frozenset[str]:
    """Return the names of init containers that run beside the others."""
    containers = pod.get("spec", {}).get("initContainers") or ()
    return frozenset(each["name"] for each in containers if each.get("restartPolicy") == "Always")


def result_of(ours: Iterable[Manifest]) -> str:
    """Return what one of our containers told when it ended well: its termination message."""
    ends = (container.get("state", {}).get("terminated") or {"exitCode": 1} for container in ours)
    return next((end["message"] for end in ends if end["exitCode"] == 0 and end.get("message")), "")
