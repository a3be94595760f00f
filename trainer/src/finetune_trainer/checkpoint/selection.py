"""Which checkpoint becomes the adapter: the last one, or the one with the least validation loss."""

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from finetune_trainer.checkpoint.files import saved_steps, sync

Select = Literal["best", "last"]
LOSSES = "validation.json"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The step that is exported, and why."""

    step: int
    why: str
    validation_loss: float | None = None
    """Of that step; None where none was measured."""

    def __str__(self) -> str:
        return f"step {self.step:,}: {self.why}"


def best_step(losses: Mapping[int, float], saved: Collection[int]) -> int | None:
    """The saved step with the least loss, the earlier of equals; None where no saved step has one."""
    measured = {step: loss for step, loss in losses.items() if step in saved and math.isfinite(loss)}
    return min(measured, key=lambda step: (measured[step], step), default=None)


def choose(select: Select, losses: Mapping[int, float], saved: Collection[int]) -> Selection | None:
    """What `select` comes to; None where nothing is saved."""
    if not saved:
        return None
    last, best = max(saved), best_step(losses, saved)
    if select == "last":
        return _selection(last, "the last one, as training.select says", losses)
    if best is None:
        return _selection(last, "the last one, as no saved step has a finite validation loss", losses)
    return _selection(best, f"the least validation loss of the saved steps, {losses[best]:.4g}", losses)


def _selection(step: int, why: str, losses: Mapping[int, float]) -> Selection:
    measured = losses.get(step, math.nan)
    return Selection(step=step, why=why, validation_loss=measured if math.isfinite(measured) else None)


def selection(folder: Path, select: Select) -> Selection | None:
    """What `select` comes to among the checkpoints in `folder`."""
    return choose(select, read_losses(folder), saved_steps(folder))


def read_losses(folder: Path) -> dict[int, float]:
    """Validation losses by step; none where none was measured."""
    file = folder / LOSSES
    if not file.exists():
        return {}
    return {int(step): loss for step, loss in json.loads(file.read_text()).items() if loss is not None}


def write_losses(folder: Path, losses: Mapping[int, float]) -> None:
    """Replace the file; a crash leaves the old one or the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {str(step): loss if math.isfinite(loss) else None for step, loss in sorted(losses.items())}
    _replace(folder / LOSSES, told)


def write_selection(file: Path, selection: Selection) -> None:
    """Write down what is exported, and why: the operator and the converter tell it on."""
    told = {"step": selection.step, "why": selection.why, "validationLoss": selection.validation_loss}
    _replace(file, told)


def _replace(file: Path, content: Mapping[str, Any]) -> None:
    part = file.with_name(f".{file.name}.partial")
    part.write_text(json.dumps(content, indent=2) + "\n")
    sync(part)
    part.replace(file)
    sync(file.parent)
