"""The run file's section `training`: how the adapter is trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    interval: int
    """Steps between checkpoints."""
    keep: int
    adapters: bool = False
    """Whether each holds the adapter in PEFT format too."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    interval: int | None = None
    """Steps between validations. None: with each checkpoint."""
    patience: int | None = None
    """Training ends after so many validations in a row without a new least loss. None: at its last step."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    prompts: tuple[str, ...]
    """Answered before training, at each validation and after the last step."""
    max_tokens: int
    max_seconds: int
    """Of all prompts together, each time."""


@dataclass(frozen=True, kw_only=True)
class Parallelism:
    data: int | None
    """None: all processes that the other degrees leave."""
    replicate: int
    """Whole copies of the base, each sharded over its own processes (HSDP)."""
    tensor: int
    expert: int
    pipeline: int
    context: int
    frozen_weights: Literal["sharded", "resident"]
    """Whether FSDP divides the frozen base, and gathers it layer by layer, or each of its ranks holds all."""


@dataclass(frozen=True, kw_only=True)
class Dpo:
    beta: float = 0.1
    loss_type: Literal["sigmoid", "hinge", "ipo"] = "sigmoid"


@dataclass(frozen=True, kw_only=True)
class Training:
    method: Literal["sft", "dpo"] = "sft"
    """dpo: from preference pairs, held to the model before training."""
    dpo: Dpo | None = None
    """None: its defaults, under that method."""
    steps: int | None
    epochs: float | None
    learning_rate: float
    weight_decay: float
    max_grad_norm: float
    warmup_steps: int
    schedule: str
    sequence_length: int
    """Tokens a sequence."""
    micro_batch_size: int
    """Sequences a process takes in one forward pass."""
    global_batch_size: int
    """Sequences a step, over all processes."""
    seed: int
    precision: str
    frozen_dtype: Literal["precision", "float8"]
    frozen_arithmetic: Literal["precision", "float8", "float8WithHead"]
    """How the frozen base is kept: as `precision` says, or in FP8."""
    recompute: Literal["none", "selective", "full"] | None
    """None: the trainer's own choice."""
    checkpoint: Checkpoint
    select: Literal["best", "last"]
    """Which checkpoint becomes the adapter."""
    validation: Validation = field(default_factory=Validation)
    samples: Samples | None = None
    parallelism: Parallelism
    overrides: Mapping[str, Any]
    """Fields of torchtitan's `Trainer.Config` by dotted path."""

    @property
    def validation_interval(self) -> int:
        return self.validation.interval or self.checkpoint.interval
