"""How all that a command was given is, taken together: by the conditions that any client could read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from finetune_operator.core.conditions import condition_of, true_condition_of
from finetune_operator.core.labels import RETRIED_AT
from finetune_operator.core.objects import Manifest


class State(Enum):
    """How everything given is, taken together."""

    GOING_ON = "going on"
    READY = "ready"
    """Jobs are complete and deployments available."""
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The state, and whom it is about when it is a failure."""

    state: State
    parent: Manifest | None = None
    message: str = ""


def verdict_of(parents: Sequence[Manifest]) -> Verdict:
    """Return the state of all parents."""
    if not all(map(_is_current, parents)):
        return Verdict(state=State.GOING_ON)
    # Jobs first: a deployment that waits for a failed job fails of it.
    for parent in sorted(parents, key=lambda p: p["kind"] != "FineTuneJob"):
        if end := true_condition_of(parent.get("status", {}), "Failed", "Stalled"):
            if _is_forgiven(parent, end):
                return Verdict(state=State.GOING_ON)
            return Verdict(state=State.FAILED, parent=parent, message=end["message"])
    finished = {"FineTuneJob": "Complete", "ModelDeployment": "Available"}
    if all(_is(p, finished[p["kind"]]) and _is(p, "AdaptersReady", default="True") for p in parents):
        return Verdict(state=State.READY)
    return Verdict(state=State.GOING_ON)


def _is(parent: Manifest, condition: str, *, default: str = "False") -> bool:
    return bool(condition_of(parent.get("status", {}), condition).get("status", default) == "True")


def _is_current(parent: Manifest) -> bool:
    """Return whether the status is about the spec as it is now."""
    return bool(parent.get("status", {}).get("observedGeneration") == parent["metadata"]["generation"])


def _is_forgiven(parent: Manifest, end: Mapping[str, Any]) -> bool:
    """Return whether the operator is about to try again: a retry forgives the failures up to a time."""
    forgiven = (parent["metadata"].get("annotations") or {}).get(RETRIED_AT, "")
    return bool(end["type"] == "Failed" and end.get("lastTransitionTime", "9") <= forgiven)
