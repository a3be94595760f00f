"""Which checkpoint becomes the adapter: the last one, or the one with the least validation loss."""

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from finetune_trainer.checkpoint.files import saved_steps
from finetune_trainer.contract.whole_file import write_json

Select = Literal["best", "last"]
LOSSES = "validation.json"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The step that is exported, and why."""

    step: int
    why: str
    validation_loss: float | None = None
    """Of that step; None where none was measured."""
    first_validation_loss: float | None = None
    """Before training; None where none was measured."""
    stopped_early: bool = False
    """Whether training ended before its last step, as training.validation.patience says."""

    def __str__(self) -> str:
        return f"step {self.step:,}: {self.why}"


def best_step(losses: Mapping[int, float], saved: Collection[int]) -> int | None:
    """The saved step with the least loss, the earlier of equals; None where no saved step has one."""
    measured = {step: loss for step, loss in losses.items() if step in saved and math.isfinite(loss)}
    return min(measured, key=lambda step: (measured[step], step), default=None)


def waited(losses: Mapping[int, float]) -> int:
    """How many validations there were since the one with the least loss; one that is not finite is left out.

    The first validation is before training: a run that only gets worse than its base has waited as well.
    """
    steps = sorted(step for step, loss in losses.items() if math.isfinite(loss))
    best = best_step(losses, steps)
    return 0 if best is None else len(steps) - 1 - steps.index(best)


def has_stalled(losses: Mapping[int, float], patience: int | None) -> bool:
    """Whether training ends for want of a better validation loss."""
    return patience is not None and waited(losses) >= patience


def choose(
    select: Select, losses: Mapping[int, float], saved: Collection[int], *, patience: int | None = None
) -> Selection | None:
    """What `select` comes to; None where nothing is saved."""
    if not saved:
        return None
    last, best = max(saved), best_step(losses, saved)
    stopped = has_stalled(losses, patience)
    step, why = last, "the last one, as training.select says"
    if select == "best" and best is None:
        why = "the last one, as no saved step has a finite validation loss"
    elif select == "best" and best is not None:
        step, why = best, f"the least validation loss of the saved steps, {losses[best]:.4g}"
    return Selection(
        step=step,
        why=why + _against_the_first(losses, step) + (_stopped(losses) if stopped else ""),
        validation_loss=_measured(losses, step),
        first_validation_loss=_measured(losses, 0),
        stopped_early=stopped,
    )


def selection(folder: Path, select: Select, patience: int | None = None) -> Selection | None:
    """What `select` comes to among the checkpoints in `folder`."""
    return choose(select, read_losses(folder), saved_steps(folder), patience=patience)


def _measured(losses: Mapping[int, float], step: int) -> float | None:
    loss = losses.get(step, math.nan)
    return loss if math.isfinite(loss) else None


def _against_the_first(losses: Mapping[int, float], step: int) -> str:
    """What training did to the validation loss; nothing where that is not known."""
    first, then = _measured(losses, 0), _measured(losses, step)
    if first is None or then is None:
        return ""
    return (
        f", {first:.4g} before training" if then < first else f", no better than {first:.4g} before training"
    )


def _stopped(losses: Mapping[int, float]) -> str:
    count = waited(losses)
    return f"; stopped at step {max(losses):,}, as the last {count} validations found none that is less"


def read_losses(folder: Path) -> dict[int, float]:
    """Validation losses by step; none where none was measured."""
    file = folder / LOSSES
    if not file.exists():
        return {}
    return {int(step): loss for step, loss in json.loads(file.read_text()).items() if loss is not None}


def write_losses(folder: Path, losses: Mapping[int, float]) -> None:
    """Replace the file; a crash leaves the old one or the new one."""
    told = {str(step): loss if math.isfinite(loss) else None for step, loss in sorted(losses.items())}
    write_json(folder / LOSSES, told)


def write_selection(file: Path, selection: Selection) -> None:
    """Write down what is exported, and why: the operator and the converter tell it on."""
    write_json(
        file,
        {
            "step": selection.step,
            "why": selection.why,
            "validationLoss": selection.validation_loss,
            "firstValidationLoss": selection.first_validation_loss,
            "stoppedEarly": selection.stopped_early,
        },
    )
