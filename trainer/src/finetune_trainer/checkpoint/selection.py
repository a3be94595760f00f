"""Which checkpoint becomes the adapter: the last one, or the one with the least validation loss."""

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from finetune_trainer.checkpoint.files import saved_steps, sync

Select = Literal["best", "last"]
LOSSES = "validation.json"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The step that is exported, and why."""

    step: int
    why: str

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
        return Selection(step=last, why="the last one, as training.select says")
    if best is None:
        return Selection(step=last, why="the last one, as no saved step has a finite validation loss")
    return Selection(step=best, why=f"the least validation loss of the saved steps, {losses[best]:.4g}")


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
    part = folder / f".{LOSSES}.partial"
    told = {str(step): loss if math.isfinite(loss) else None for step, loss in sorted(losses.items())}
    part.write_text(json.dumps(told, indent=2) + "\n")
    sync(part)
    part.replace(folder / LOSSES)
    sync(folder)
