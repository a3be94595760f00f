"""How all that a command was given is, taken together: by the conditions that any client could read."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

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
        ends = [
            c for name in ("Failed", "Stalled") if (c := _condition(parent, name)).get("status") == "True"
        ]
        if ends:
            return Verdict(state=State.FAILED, parent=parent, message=ends[0]["message"])
    finished = {"FineTuneJob": "Complete", "ModelDeployment": "Available"}
    if all(_condition(p, finished[p["kind"]]).get("status") == "True" for p in parents):
        return Verdict(state=State.READY)
    return Verdict(state=State.GOING_ON)


def _is_current(parent: Manifest) -> bool:
    """Return whether the status is about the spec as it is now."""
    return bool(parent.get("status", {}).get("observedGeneration") == parent["metadata"]["generation"])


def _condition(parent: Manifest, type_: str) -> Manifest:
    conditions: list[Manifest] = parent.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == type_), {})
