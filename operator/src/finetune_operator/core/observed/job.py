"""Jobs: how an attempt of a stage stands, by the Job's own conditions and by its pods."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from finetune_operator.core.conditions import time_of, true_condition_of
from finetune_operator.core.labels import ATTEMPT, COMPONENT, RUN, SETTINGS
from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.child import ObservedChild, child_fields
from finetune_operator.core.observed.object import wakes_nobody
from finetune_operator.core.observed.pod import ObservedPod
from finetune_operator.core.termination import Termination, cause_of
from finetune_operator.core.wait_reason import WaitReason
from finetune_operator.core.waiting import Wait, first_of

_OF_AN_ATTEMPT = frozenset({ATTEMPT, COMPONENT, RUN})


class JobState(StrEnum):
    """What a Job's own conditions say."""

    ACTIVE = "Active"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedJob(ObservedChild):
    """One attempt of one stage."""

    run: str = ""
    """Empty for a Job that is no attempt of ours, whatever else it borrowed of our labels."""
    attempt: int = 0
    settings: str = ""
    """What its stage was given of what may change; empty where that is nothing, or is not known."""
    state: JobState = JobState.ACTIVE
    started_at: datetime | None = None
    finished_at: datetime | None = None
    failure_reason: str = ""
    """The Job controller's own reason: BackoffLimitExceeded, PodFailurePolicy, DeadlineExceeded."""
    stopped_by_disruption: bool = False
    """Our podFailurePolicy matched a disruption; the pod itself may be gone by now."""
    suspended: bool = False
    """A queue holds it back, as Kueue does by suspending it; we never suspend one."""
    suspended_at: datetime | None = wakes_nobody(None)
    active_pods: int = wakes_nobody(0)
    ready_pods: int = wakes_nobody(0)
    pods: tuple[ObservedPod, ...] = ()
    """Those that are there: put in by who asks for a Job with its pods."""
    delay: Wait | None = None
    """Why it is late as a whole: put in with its pods."""

    @property
    def active_seconds(self) -> float:
        """Seconds from start to end; 0 for a Job that has not ended."""
        if self.started_at is None or self.finished_at is None:
            return 0.0
        return (self.finished_at - self.started_at).total_seconds()

    @property
    def disrupted(self) -> bool:
        """The node was drained or a pod preempted; not the job's fault.

        The Job's own condition does not tell an eviction by a node that had too little from those.
        """
        if any(pod.evicted for pod in self.pods):
            return False
        return self.stopped_by_disruption or any(pod.disrupted for pod in self.pods)

    @property
    def termination(self) -> Termination | None:
        """The failure that ended it, or None."""
        return cause_of(tuple(end for pod in self.pods for end in pod.ends))

    @property
    def waiting(self) -> Wait | None:
        """Why it does not run, or one of its pods; None when all do."""
        if self.suspended:
            return Wait(reason=WaitReason.NOT_ADMITTED, name=self.name, since=self.suspended_at)
        return first_of((self.delay, *(pod.waiting for pod in self.pods)))

    @property
    def has_begun(self) -> bool:
        """Whether a pod of it has started, or may have: those that are counted and not seen yet."""
        return any(pod.has_begun for pod in self.pods) or len(self.pods) < self.active_pods

    @property
    def speaker(self) -> ObservedPod | None:
        """The pod that tells the progress of all, while the Job runs."""
        if not self.run or not self.active_pods:
            return None
        return next((pod for pod in self.pods if pod.index == "0" and pod.runs), None)


def observe_job(obj: Manifest) -> ObservedJob:
    """Return a Job, without its pods."""
    labels, status = obj["metadata"].get("labels", {}), obj.get("status", {})
    end = true_condition_of(status, "Complete", "Failed")
    suspended = true_condition_of(status, "Suspended")
    is_attempt = labels.keys() >= _OF_AN_ATTEMPT and labels[ATTEMPT].isdecimal()
    return ObservedJob(
        **child_fields(obj),
        run=labels[RUN] if is_attempt else "",
        attempt=int(labels[ATTEMPT]) if is_attempt else 0,
        settings=labels.get(SETTINGS, "") if is_attempt else "",
        state=_STATES[end.get("type")],
        started_at=time_of(status.get("startTime")),
        finished_at=time_of(status.get("completionTime") or end.get("lastTransitionTime")),
        failure_reason=end["reason"] if end.get("type") == "Failed" else "",
        stopped_by_disruption="DisruptionTarget" in end.get("message", ""),
        suspended=bool(suspended),
        suspended_at=time_of(suspended.get("lastTransitionTime")),
        delayed=_delayed(obj),
        active_pods=status.get("active", 0),
        ready_pods=status.get("ready", 0),
    )


def _delayed(obj: Manifest) -> Wait | None:
    """Return the wait for pods that the Job controller is to make; it counts those that it has made.

    With none of its conditions true: it makes no more pods of a Job that ends, or that is suspended.
    """
    spec, status = obj.get("spec", {}), obj.get("status", {})
    started = time_of(status.get("startTime"))
    uncounted: Manifest = status.get("uncountedTerminatedPods") or {}
    made = sum(status.get(count) or 0 for count in ("active", "succeeded", "failed", "terminating"))
    made += sum(len(uids) for uids in uncounted.values())
    ends = any(condition["status"] == "True" for condition in status.get("conditions", []))
    if started is None or ends or made >= spec.get("parallelism", 1):
        return None
    return Wait(reason=WaitReason.NO_PODS, name=f"Job {obj['metadata']['name']}", since=started)


_STATES = {None: JobState.ACTIVE, "Complete": JobState.SUCCEEDED, "Failed": JobState.FAILED}
