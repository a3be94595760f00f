"""Which step became the adapter: what the trainer tells at its end, by contract/README.md."""

import json
from dataclasses import dataclass
from typing import Any

from finetune_operator.core.objects import Manifest, without_empty
from finetune_operator.finetune.answers import number, text, whole


@dataclass(frozen=True, kw_only=True)
class Selected:
    """The step that is exported, and why."""

    step: int
    why: str
    validation_loss: float | None = None
    first_validation_loss: float | None = None
    stopped_early: bool = False

    @property
    def sentence(self) -> str:
        """For people: which step, and why."""
        return f"it is step {self.step}: {self.why}"

    def to_status(self) -> Manifest:
        """Return it as the status has it."""
        return without_empty(
            {
                "step": self.step,
                "why": self.why,
                "validationLoss": self.validation_loss,
                "firstValidationLoss": self.first_validation_loss,
                "stoppedEarly": self.stopped_early or None,
            }
        )


def read_selection(result: str) -> Selected | None:
    """Return what a trainer told in its termination message; None if it tells nothing, or junk."""
    try:
        line = json.loads(result)
    except (ValueError, RecursionError):
        return None
    return selected_of(line.get("selection") if isinstance(line, dict) else None)


def selected_of(said: Any) -> Selected | None:
    """Return what an object of JSON says; None for one that does not say a step, and why."""
    if not isinstance(said, dict):
        return None
    step, why = whole(said.get("step")), text(said.get("why"))
    if step is None or why is None:
        return None
    return Selected(
        step=step,
        why=why,
        validation_loss=number(said.get("validationLoss")),
        first_validation_loss=number(said.get("firstValidationLoss")),
        stopped_early=said.get("stoppedEarly") is True,
    )
