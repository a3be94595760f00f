"""Pods: why one waits, how its containers ended, where it is reached."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from finetune_operator.core.conditions import parse_timestamp
from finetune_operator.core.labels import POD_INDEX
from finetune_operator.core.objects import Manifest, Owner
from finetune_operator.core.observed.object import ObservedObject, common_fields, wakes_nobody
from finetune_operator.core.termination import Termination, killed_for_memory, parse_termination

# What every pod goes through.
_PASSING = ("ContainerCreating", "PodInitializing")


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedPod(ObservedObject):
    """A pod. One that starts and runs as it should is no news: what made it says so too."""

    uid: str = wakes_nobody("")
    owners: tuple[Owner, ...] = wakes_nobody(())
    instance: str = wakes_nobody("")
    component: str = wakes_nobody("")
    deleting: bool = wakes_nobody(False)
    phase: str = wakes_nobody("")
    address: str = wakes_nobody("")
    """status.podIP; empty before it has one."""
    started_at: datetime | None = wakes_nobody(None)
    index: str = wakes_nobody("")
    """Of an Indexed Job: "0" is the pod of rank 0, which tells the progress of all."""
    waiting: str = ""
    """Why it does not run yet, in the words of the scheduler or of the kubelet; empty when it does."""
    disrupted: bool = False
    """The node was drained or the pod preempted; not its own fault."""
    restarts: int = 0
    """Of all containers together."""
    ends: tuple[Termination, ...] = ()
    """Containers that have failed and are not started again."""
    ends_before: tuple[Termination, ...] = ()
    """The last failure of each container that was started again."""

    @property
    def has_begun(self) -> bool:
        """Whether a container of it has started."""
        return self.phase != "Pending"

    @property
    def runs(self) -> bool:
        """Whether it can be asked something."""
        return self.phase == "Running" and bool(self.address)

    def before_it_was_there(self) -> Self | None:
        """Return a pod of which nothing is wrong."""
        return type(self)(ref=self.ref)


def observe_pod(obj: Manifest) -> ObservedPod:
    """Return a pod."""
    status = obj.get("status", {})
    containers: list[Manifest] = status.get("containerStatuses") or []
    started = status.get("startTime")
    return ObservedPod(
        **common_fields(obj),
        phase=status.get("phase", ""),
        address=status.get("podIP", ""),
        started_at=parse_timestamp(started) if started else None,
        index=obj["metadata"].get("labels", {}).get(POD_INDEX, ""),
        waiting=_waiting(status),
        disrupted=_is_disrupted(status),
        restarts=sum(container.get("restartCount", 0) for container in containers),
        ends=tuple(_failures(containers, "state")),
        ends_before=tuple(_failures(containers, "lastState")),
    )


def waiting_of(pods: Iterable[ObservedPod]) -> str:
    """Return why the first of the pods that wait does; an empty string when none does."""
    return next((pod.waiting for pod in pods if pod.waiting), "")


def _waiting(status: Manifest) -> str:
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


def _is_disrupted(status: Manifest) -> bool:
    # https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
    conditions = status.get("conditions", [])
    return any(c["type"] == "DisruptionTarget" and c["status"] == "True" for c in conditions)


def _failures(containers: Iterable[Manifest], state: str) -> Iterator[Termination]:
    for container in containers:
        end = container.get(state, {}).get("terminated")
        if end and end["exitCode"] != 0:
            finished = end.get("finishedAt")
            moment = parse_timestamp(finished) if finished else None
            if end.get("reason") == "OOMKilled":
                yield killed_for_memory(moment)
            else:
                yield parse_termination(end["exitCode"], end.get("message", ""), moment)
