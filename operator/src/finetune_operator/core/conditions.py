"""Conditions as KEP-1623 has them (metav1.Condition), and the events that their changes are worth."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from finetune_operator.core.plan import Event

Status = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A condition as computed from what was observed; `since` where the observation knows the time."""

    type: str
    status: Status
    reason: str
    message: str = ""
    since: datetime | None = None
    failure: bool = False
    """Whether a change to this is worth a Warning."""
    silent: bool = False
    """Whether it repeats another condition and so is worth no event."""
    event: str = ""
    """What its event says, where that is not the message."""


def timestamp(moment: datetime) -> str:
    """Return a time as metav1.Time has it: RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: str) -> datetime:
    """Return the time of a metav1.Time."""
    return datetime.fromisoformat(text)


def time_of(text: str | None) -> datetime | None:
    """Return the time of a metav1.Time that may be absent."""
    return parse_timestamp(text) if text else None


def condition_of(status: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    """Return the condition of a type in an object's status; empty when it is not there."""
    return next((c for c in status.get("conditions") or () if c["type"] == type_), {})


def true_condition_of(status: Mapping[str, Any], *types: str) -> Mapping[str, Any]:
    """Return the first of the conditions of these types that is true; empty when none is."""
    conditions = (condition_of(status, type_) for type_ in types)
    return next((c for c in conditions if c.get("status") == "True"), {})


def _transition_time(condition: Condition, before: Mapping[str, Any] | None, now: datetime) -> str:
    """Return when the status became what it is: kept while it stays the same (KEP-1623)."""
    if before is not None and before["status"] == condition.status:
        return str(before["lastTransitionTime"])
    return timestamp(condition.since or now)


def set_conditions(
    previous: Iterable[Mapping[str, Any]], computed: Sequence[Condition], *, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Return the conditions of the new status; a condition that is no longer computed is gone."""
    before = {condition["type"]: condition for condition in previous}
    return [
        {
            "type": condition.type,
            "status": condition.status,
            "observedGeneration": generation,
            "lastTransitionTime": _transition_time(condition, before.get(condition.type), now),
            "reason": str(condition.reason),
            "message": condition.message,
        }
        for condition in computed
    ]


def events_of(previous: Iterable[Mapping[str, Any]], computed: Sequence[Condition]) -> tuple[Event, ...]:
    """Return an event for every condition that became true or turned into another failure."""
    before = {condition["type"]: (condition["status"], condition["reason"]) for condition in previous}
    return tuple(
        Event(type="Warning" if c.failure else "Normal", reason=str(c.reason), message=c.event or c.message)
        for c in computed
        if not c.silent and before.get(c.type) != (c.status, c.reason) and (c.failure or c.status == "True")
    )
