"""Pods: how its containers ended, where it is reached; and, by waiting_pod.py, why one waits."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from finetune_operator.core.conditions import condition_of, time_of, true_condition_of
from finetune_operator.core.labels import POD_INDEX
from finetune_operator.core.objects import Manifest, Owner
from finetune_operator.core.observed.container import (
    failures,
    failures_of_others,
    is_ours,
    result_of,
    statuses_of,
)
from finetune_operator.core.observed.object import ObservedObject, common_fields, wakes_nobody
from finetune_operator.core.observed.waiting_pod import delay_of_pod, wait_of_pod
from finetune_operator.core.termination import EVICTED, Termination, evicted, not_run
from finetune_operator.core.waiting import Wait, first_of


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
    waiting: Wait | None = None
    """Why it does not run, in the words of the scheduler or of the kubelet; None when it does."""
    disrupted: bool = False
    """The node was drained or shut down, or the pod preempted; not its own fault."""
    restarts: int = 0
    """Of our containers together."""
    result: str = ""
    """What our container told when it ended with 0: its termination message."""
    ends: tuple[Termination, ...] = ()
    """Our containers that have failed and are not started again, or another that failed the pod, and what
    the kubelet did to it."""
    ends_before: tuple[Termination, ...] = ()
    """The last failure of each container that was started again."""

    @property
    def has_begun(self) -> bool:
        """Whether a container of it has started."""
        return self.phase != "Pending"

    @property
    def has_ended(self) -> bool:
        """Whether all its containers have ended."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def runs(self) -> bool:
        """Whether it can be asked something."""
        return self.phase == "Running" and bool(self.address)

    @property
    def evicted(self) -> bool:
        """Whether its node had too little of something that it took more of than it had asked for."""
        return any(end.reason == EVICTED for end in self.ends)

    def before_it_was_there(self) -> Self | None:
        """Return a pod of which nothing is wrong."""
        return type(self)(ref=self.ref)


def observe_pod(obj: Manifest) -> ObservedPod:
    """Return a pod."""
    status = obj.get("status", {})
    ours = [container for container in statuses_of(status) if is_ours(container)]
    return ObservedPod(
        **common_fields(obj),
        phase=status.get("phase", ""),
        address=status.get("podIP", ""),
        started_at=time_of(status.get("startTime")),
        index=obj["metadata"].get("labels", {}).get(POD_INDEX, ""),
        waiting=wait_of_pod(obj),
        delayed=delay_of_pod(obj),
        disrupted=_is_disrupted(status),
        restarts=sum(container.get("restartCount", 0) for container in ours),
        result=result_of(ours),
        ends=_ends(obj, ours),
        ends_before=tuple(failures(ours, "lastState")),
    )


def waiting_of(pods: Iterable[ObservedPod]) -> Wait | None:
    """Return why the pods that wait do; None when none does."""
    return first_of(pod.waiting for pod in pods)


def _is_disrupted(status: Manifest) -> bool:
    """Return whether somebody took the pod away; a node that had too little of something did not.

    https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
    """
    if status.get("reason") == "Evicted":
        return False
    is_target = bool(true_condition_of(status, "DisruptionTarget"))
    return is_target or status.get("reason") == "NodeShutdown"


def _ends(obj: Manifest, ours: list[Manifest]) -> tuple[Termination, ...]:
    """Return how a pod ended: what the kubelet says of the whole pod is the cause of its containers' ends.

    Containers that are not ours are asked only where ours did not fail it.
    """
    status = obj.get("status", {})
    has_failed = status.get("phase") == "Failed"
    ends = tuple(failures(ours, "state")) or (tuple(failures_of_others(obj)) if has_failed else ())
    reason, message = status.get("reason", ""), status.get("message", "")
    if reason == "Evicted":
        moment = condition_of(status, "DisruptionTarget").get("lastTransitionTime")
        return (evicted(message, time_of(moment)),)
    if has_failed and reason and not ends:
        return (not_run(reason, message),)
    return ends
