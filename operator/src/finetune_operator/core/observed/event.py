"""Kubernetes events about our children: the newest one says why a child is late."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from finetune_operator.core.conditions import time_of
from finetune_operator.core.objects import Manifest

_MOST_CHARACTERS = 1024  # of what the API takes; who writes events of another object may write anything
# Of a claim that waits for its pod, and of a pod that was scheduled: neither is a cause.
_NO_CAUSES = frozenset({"Scheduled", "WaitForFirstConsumer", "WaitForPodScheduled", "SuccessfulCreate"})


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedEvent:
    """What a controller or a kubelet said last."""

    reason: str
    message: str
    at: datetime | None

    @property
    def sentence(self) -> str:
        """Its reason and its message, in one line."""
        return " ".join(f"{self.reason}: {self.message}".split())[:_MOST_CHARACTERS]


def observe_event(obj: Manifest) -> ObservedEvent:
    """Return an event of v1; which of its times is there depends on who wrote it."""
    series = obj.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        obj.get("lastTimestamp"),
        obj.get("eventTime"),
        obj.get("firstTimestamp"),
        obj["metadata"].get("creationTimestamp"),
    )
    at = next((time for time in times if time), None)
    return ObservedEvent(
        reason=obj.get("reason", ""),
        message=obj.get("message", ""),
        at=time_of(at),
    )


def newest_cause(events: Iterable[ObservedEvent]) -> ObservedEvent | None:
    """Return the newest event that may be why its object is late."""
    causes = [event for event in events if event.at and event.reason not in _NO_CAUSES]
    return max(causes, key=lambda event: event.at.timestamp() if event.at else 0.0, default=None)
