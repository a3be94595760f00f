"""Why a pod waits: what is said at once, and what every pod goes through and few for long."""

import re

from finetune_operator.core.conditions import condition_of, time_of
from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.container import is_ours, native_sidecars, statuses_of
from finetune_operator.core.wait_reason import WaitReason
from finetune_operator.core.waiting import Wait, container_waits, unscheduled

# What every pod goes through.
_PASSING = ("ContainerCreating", "PodInitializing")


def wait_of_pod(obj: Manifest) -> Wait | None:
    """Return why a pod does not run, as far as its status says that something is wrong."""
    name, status = obj["metadata"]["name"], obj.get("status", {})
    match status.get("phase"):
        case "Pending":
            return _unscheduled(name, status) or _container_waits(name, status)
        case "Unknown":  # what the node's controller wrote before there were conditions
            since = condition_of(status, "Ready").get("lastTransitionTime")
            return Wait(reason=WaitReason.NODE_LOST, name=name, since=time_of(since))
        case "Running":
            return _lost(name, status) or _others(obj)
        case "Failed" if status.get("reason") == "Evicted":
            since = condition_of(status, "DisruptionTarget").get("lastTransitionTime")
            text = status.get("message", "").strip()
            return Wait(reason=WaitReason.EVICTED, name=name, text=text, since=time_of(since))
    return None


def delay_of_pod(obj: Manifest) -> Wait | None:
    """Return what a pod goes through just now, and since when."""
    metadata, status = obj["metadata"], obj.get("status", {})
    name = metadata["name"]
    if until := metadata.get("deletionTimestamp"):  # when its grace is over
        return Wait(reason=WaitReason.NOT_ENDING, name=name, since=time_of(until))
    if status.get("phase") != "Pending":
        return None
    scheduled = condition_of(status, "PodScheduled")
    if initializing := _initializing(obj):
        return initializing
    if scheduled.get("status") == "True":
        since = scheduled.get("lastTransitionTime") or status.get("startTime")
        return Wait(reason=WaitReason.CREATING, name=name, since=time_of(since))
    if scheduled:
        return None  # its scheduler says why
    return Wait(reason=WaitReason.NOT_SCHEDULED, name=name, since=time_of(metadata.get("creationTimestamp")))


def _initializing(obj: Manifest) -> Wait | None:
    """Return the wait for an init container that runs, or for a native sidecar that has not started."""
    sidecars = native_sidecars(obj)
    for each in obj.get("status", {}).get("initContainerStatuses") or ():
        running = each.get("state", {}).get("running")
        if running is not None and not (each["name"] in sidecars and each.get("started")):
            since = time_of(running.get("startedAt"))
            return Wait(
                reason=WaitReason.INITIALIZING, name=obj["metadata"]["name"], text=each["name"], since=since
            )
    return None


def _unscheduled(name: str, status: Manifest) -> Wait | None:
    condition = condition_of(status, "PodScheduled")
    if condition.get("status") != "False":
        return None
    text, since = condition.get("message", ""), time_of(condition.get("lastTransitionTime"))
    if condition.get("reason") == "SchedulingGated":
        return Wait(reason=WaitReason.GATED, name=name, text=text, since=since)
    return unscheduled(name, text, since)


def _container_waits(name: str, status: Manifest) -> Wait | None:
    for container in statuses_of(status):
        state = container.get("state", {}).get("waiting") or {}
        if state.get("reason") == "CrashLoopBackOff" and not is_ours(container):
            text = f"{container['name']}, CrashLoopBackOff{_last_end(container)}"
            return Wait(reason=WaitReason.OTHER_CONTAINER, name=name, text=text)
        if state.get("reason") and state["reason"] not in _PASSING:
            return container_waits(name, _said(state), time_of(status.get("startTime")))
    return None


def _last_end(container: Manifest) -> str:
    """Return how a container ended last: its exit code, and its last line."""
    end = container.get("lastState", {}).get("terminated")
    if not end:
        return ""
    lines = (end.get("message") or "").strip().splitlines()[-1:]
    return f", exit code {end['exitCode']}" + "".join(f": {line}" for line in lines)


def _said(state: Manifest) -> str:
    """Return the reason and message of a container that waits.

    Between two pulls the kubelet says that first, then the error of the last one: that alone stays the same.
    """
    text = ": ".join(part for part in (state["reason"], state.get("message")) if part)
    return re.sub(r'^ImagePullBackOff: Back-off pulling image ".*?": (?=Err)', "", text)


def _lost(name: str, status: Manifest) -> Wait | None:
    """Return the wait of a pod whose node is lost.

    The node's controller turns Ready of its pods to False and changes nothing else; a kubelet that does so
    gives a reason (ContainersNotReady, ReadinessGatesNotReady).
    https://kubernetes.io/docs/concepts/architecture/nodes/#node-status
    """
    ready, containers = condition_of(status, "Ready"), list(statuses_of(status))
    if ready.get("status") != "False" or ready.get("reason"):
        return None
    if not containers or not all(container.get("ready") for container in containers):
        return None
    return Wait(reason=WaitReason.NODE_LOST, name=name, since=time_of(ready.get("lastTransitionTime")))


def _others(obj: Manifest) -> Wait | None:
    """Return the wait of a pod that a container holds up which is not ours: beside a Job's, or a server's.

    A pod has ended once all its containers have, but for native sidecars.
    """
    name, status = obj["metadata"]["name"], obj["status"]
    main = [each for each in status.get("containerStatuses") or () if is_ours(each)]
    ends = [end for each in main if (end := each.get("state", {}).get("terminated"))]
    if main and len(ends) == len(main):
        others = [each for each in status["containerStatuses"] if "running" in each.get("state", {})]
        text = ", ".join(each["name"] for each in others)
        since = time_of(ends[0].get("finishedAt"))
        return Wait(reason=WaitReason.SIDECAR, name=name, text=text, since=since) if others else None
    if obj.get("spec", {}).get("restartPolicy") == "Never":
        return None  # ours runs, whatever else does
    for each in statuses_of(status):
        state = each.get("state", {}).get("waiting") or {}
        if not is_ours(each) and state.get("reason") not in (None, *_PASSING):
            text = f"{each['name']}, {state['reason']}"
            return Wait(reason=WaitReason.OTHER_CONTAINER, name=name, text=text)
    return None
