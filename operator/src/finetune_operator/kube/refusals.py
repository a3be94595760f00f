"""What is said of a parent that cannot go on: a spec that is not valid, or a child that the API refuses."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from finetune_operator.core.conditions import Condition, set_conditions
from finetune_operator.core.objects import Manifest
from finetune_operator.core.plan import Event


class Reason(StrEnum):
    """Why a parent is stalled."""

    SPEC_INVALID = "SpecInvalid"
    CHILD_REFUSED = "ChildRefused"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why nothing goes on until a person has changed something."""

    reason: Reason
    message: str

    @property
    def event(self) -> Event:
        """The event that is worth a refusal."""
        return Event(type="Warning", reason=self.reason, message=self.message)


def is_refused(status: Manifest) -> bool:
    """Return whether a status says that nothing goes on."""
    return any(c["type"] == "Stalled" and c["status"] == "True" for c in status.get("conditions", []))


def is_said(parent: Manifest, refusal: Refusal) -> bool:
    """Return whether the status of a parent has this refusal already."""
    conditions = parent.get("status", {}).get("conditions", [])
    return any(
        c["type"] == "Stalled" and c["reason"] == refusal.reason and c["message"] == refusal.message
        for c in conditions
    )


def with_refusal(status: Manifest, refusal: Refusal, parent: Manifest, now: datetime) -> Manifest:
    """Return the status with Stalled true; the other conditions of a valid spec stay beside it."""
    before = parent.get("status", {}).get("conditions", [])
    generation = parent["metadata"]["generation"]
    stalled = set_conditions(
        before,
        [
            Condition(type="Reconciling", status="False", reason=refusal.reason, message=refusal.message),
            Condition(type="Stalled", status="True", reason=refusal.reason, message=refusal.message),
        ],
        generation=generation,
        now=now,
    )
    others = [c for c in status.get("conditions", []) if c["type"] not in ("Reconciling", "Stalled")]
    return {**status, "observedGeneration": generation, "conditions": [*others, *stalled]}
