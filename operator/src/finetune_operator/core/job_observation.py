"""Kubernetes Jobs and their pods, read from their objects."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from finetune_operator.core.conditions import parse_timestamp
from finetune_operator.core.labels import ATTEMPT, COMPONENT, RUN
from finetune_operator.core.objects import Manifest
from finetune_operator.core.pod_waiting import waiting_of
from finetune_operator.core.termination import Termination, cause_of, parse_termination


class JobState(StrEnum):
    """What a Job's own conditions say."""

    ACTIVE = "Active"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, kw_only=True)
class ObservedJob:
    """One attempt of one stage."""

    name: str
    component: str
    run: str
    attempt: int
    state: JobState = JobState.ACTIVE
    started_at: datetime | None = None
    finished_at: datetime | None = None
    ready_pods: int = 0
    deleting: bool = False
    failure_reason: str = ""
    """The Job controller's own reason: BackoffLimitExceeded, PodFailurePolicy, DeadlineExceeded."""
    disrupted: bool = False
    """The node was drained or the pod preempted; not the job's fault."""
    termination: Termination | None = None
    waiting: str = ""
    """Why it does not run yet, or one of its pods; empty when all do."""

    @property
    def active_seconds(self) -> float:
        """Seconds from start to end; 0 for a Job that has not ended."""
        if self.started_at is None or self.finished_at is None:
            return 0.0
        return (self.finished_at - self.started_at).total_seconds()


def observe_job(job: Manifest, pods: Iterable[Manifest]) -> ObservedJob:
    """Return a Job and its pods as one attempt of a stage."""
    metadata, status = job["metadata"], job.get("status", {})
    condition = next((c for c in status.get("conditions", []) if _ends(c)), None)
    pods = tuple(pods)
    return ObservedJob(
        name=metadata["name"],
        component=metadata["labels"][COMPONENT],
        run=metadata["labels"][RUN],
        attempt=int(metadata["labels"][ATTEMPT]),
        state=_state(condition),
        started_at=_time(status.get("startTime")),
        finished_at=_time(status.get("completionTime") or (condition or {}).get("lastTransitionTime")),
        ready_pods=status.get("ready", 0),
        deleting="deletionTimestamp" in metadata,
        failure_reason=condition["reason"] if condition and condition["type"] == "Failed" else "",
        disrupted=any(is_disrupted(pod) for pod in pods) or _says_disrupted(condition),
        termination=cause_of(tuple(t for pod in pods for t in _terminations(pod))),
        waiting=_suspended(status) or waiting_of(pods),
    )


def _suspended(status: Manifest) -> str:
    """Return that a queue holds a Job back, as Kueue does by suspending it; we never suspend one."""
    conditions = status.get("conditions", [])
    held = any(c["type"] == "Suspended" and c["status"] == "True" for c in conditions)
    return "the queue has not admitted its Job" if held else ""


def _time(text: str | None) -> datetime | None:
    return parse_timestamp(text) if text else None


def _ends(condition: Manifest) -> bool:
    return condition["type"] in ("Complete", "Failed") and condition["status"] == "True"


def _state(condition: Manifest | None) -> JobState:
    if condition is None:
        return JobState.ACTIVE
    return JobState.SUCCEEDED if condition["type"] == "Complete" else JobState.FAILED


def is_disrupted(pod: Manifest) -> bool:
    # https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "DisruptionTarget" and c["status"] == "True" for c in conditions)


def _says_disrupted(condition: Manifest | None) -> bool:
    """Return whether our podFailurePolicy matched a disruption; the pod itself may be gone by now."""
    return condition is not None and "DisruptionTarget" in condition.get("message", "")


def _terminations(pod: Manifest) -> Iterable[Termination]:
    for container in pod.get("status", {}).get("containerStatuses", []):
        ended = container.get("state", {}).get("terminated")
        if ended and ended["exitCode"] != 0:
            yield parse_termination(
                ended["exitCode"], ended.get("message", ""), _time(ended.get("finishedAt"))
            )
