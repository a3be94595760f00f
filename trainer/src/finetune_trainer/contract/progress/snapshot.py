"""What a stage says of itself at one moment."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The answer of GET /progress; None where unknown."""

    stage: str
    step: int | None = None
    total_steps: int | None = None
    loss: float | None = None
    validation_loss: float | None = None
    tokens_per_second: float | None = None
    """Over all processes."""
    expert_load: float | None = None
    """Tokens of the fullest expert over the mean, in the most uneven layer."""
    expert_rank_load: float | None = None
    """The same of the ranks that share the experts."""
    slowest_rank: int | None = None
    slowdown: float | None = None
    """What the slowest rank takes for what it does alone, over a rank in the middle."""
    reward_margin: float | None = None
    reward_accuracy: float | None = None
    """Of the step's preference pairs."""
    eta_seconds: float | None = None
    last_checkpoint: str | None = None
    """A folder's name under checkpoints/."""
    skipped_checkpoints: tuple[str, ...] = ()
    """Those that could not be read when the run was resumed."""
    samples: tuple[Mapping[str, str], ...] = ()
    """The newest answers to training.samples' prompts, shortened."""
    samples_step: int | None = None
    """The step that they are of; 0 is before training."""
    tracking: Mapping[str, str] | None = None
    """Where each tracker shows the run: a URL, or a folder of the volume."""
    peak_memory_bytes: int | None = None
    """Of the process that is asked, in its last step: on the GPU, or of the whole process on a CPU."""
    bytes_fetched: int | None = None
    bytes_loaded: int | None = None
    """Of the base, by the process that is asked, before the first step."""
    bytes_total: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {camel_case(field.name): finite(getattr(self, field.name)) for field in fields(self)}


def camel_case(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


def finite(value: Any) -> Any:
    """JSON has neither NaN nor infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
