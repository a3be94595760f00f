"""What is said of a parent that cannot go on: a spec that is not valid, or a child that the API refuses."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from finetune_operator.core.conditions import Condition, set_conditions
from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.parent import ObservedParent
from finetune_operator.core.plan import Event


class RefusalReason(StrEnum):
    """Why a parent is stalled."""

    SPEC_INVALID = "SpecInvalid"
    CHILD_REFUSED = "ChildRefused"


_NOTHING_GOES_ON = "Nothing goes on: the condition Stalled says why"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why nothing goes on until a person has changed something."""

    reason: RefusalReason
    message: str

    @property
    def event(self) -> Event:
        """The event that is worth a refusal."""
        return Event(type="Warning", reason=self.reason, message=self.message)


def is_refused(parent: ObservedParent) -> bool:
    """Return whether the status of a parent says that nothing goes on."""
    return any(c["type"] == "Stalled" and c["status"] == "True" for c in parent.conditions)


def is_said(parent: ObservedParent, refusal: Refusal) -> bool:
    """Return whether the status of a parent has this refusal already."""
    return any(
        c["type"] == "Stalled" and c["reason"] == refusal.reason and c["message"] == refusal.message
        for c in parent.conditions
    )


def with_refusal(status: Manifest, refusal: Refusal, parent: ObservedParent, now: datetime) -> Manifest:
    """Return the status with Stalled true; the other conditions of a valid spec stay beside it."""
    stalled = set_conditions(
        parent.conditions,
        [
            Condition(type="Reconciling", status="False", reason=refusal.reason, message=_NOTHING_GOES_ON),
            Condition(type="Stalled", status="True", reason=refusal.reason, message=refusal.message),
        ],
        generation=parent.generation,
        now=now,
    )
    others = [c for c in status.get("conditions", []) if c["type"] not in ("Reconciling", "Stalled")]
    return {**status, "observedGeneration": parent.generation, "conditions": [*others, *stalled]}
