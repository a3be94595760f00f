"""run.json's section `training`."""

from typing import Annotated

from pydantic import Field

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import FreeObject
from finetune_operator.api.parallelism import FrozenWeights
from finetune_operator.api.training import (
    Arithmetic,
    DpoLoss,
    Frozen,
    Method,
    Precision,
    Recompute,
    Schedule,
    Select,
)

Count = Annotated[int, Field(ge=1)]


class RunCheckpoint(ApiModel):
    """When the adapter and the optimizer are saved."""

    interval: Count
    """Steps between two checkpoints."""

    keep: Count
    """How many of the newest stay."""

    adapters: bool
    """Whether each holds the adapter in PEFT format too."""


class RunValidation(ApiModel):
    """When the validation loss is measured, and what ends training early."""

    interval: Count | None = None
    """Steps between validations; null: with each checkpoint."""

    patience: Count | None = None
    """Training ends after so many validations in a row that are no better; null: at its last step."""


class RunSamples(ApiModel):
    """Prompts that are answered as training goes on."""

    prompts: Annotated[list[str], Field(min_length=1)]
    """Answered before training, at each validation and after the last step."""

    max_tokens: Count
    """Of an answer."""

    max_seconds: Count
    """Of all answers at one step."""


class RunParallelism(ApiModel):
    """Degrees of parallelism."""

    data: Count | None = None
    """Data-parallel degree, over which parameters are sharded (FSDP); null: what the others leave."""

    replicate: Count
    """Whole copies of the base, each sharded over its own processes (HSDP)."""

    tensor: Count
    """Tensor-parallel degree."""

    expert: Count
    """Expert-parallel degree, of the processes of data, context and tensor in a copy."""

    pipeline: Count
    """Pipeline-parallel degree."""

    context: Count
    """Context-parallel degree."""

    frozen_weights: FrozenWeights
    """Whether FSDP divides the frozen base, and gathers it layer by layer, or each of its ranks holds all."""


class RunDpo(ApiModel):
    """Direct preference optimisation."""

    beta: float
    """How strongly the model is held to the reference."""

    loss_type: DpoLoss
    """TRL's."""


class RunTraining(ApiModel):
    """How the adapter is trained."""

    method: Method = "sft"
    """What is learned from: what the assistant writes, or preference pairs."""

    dpo: RunDpo | None = None
    """null where the method is another."""

    steps: Count | None = None
    """Optimizer steps; null where epochs decides."""

    epochs: float | None = None
    """Passes over the data; null where steps decides."""

    learning_rate: float
    """Peak learning rate of AdamW."""

    weight_decay: float
    """Weight decay of AdamW."""

    max_grad_norm: float
    """Gradients are clipped to this norm."""

    warmup_steps: int
    """Steps over which the learning rate rises from 0."""

    schedule: Schedule
    """How it falls after that."""

    sequence_length: Count
    """Tokens in a sequence."""

    micro_batch_size: Count
    """Sequences a process works on at once."""

    global_batch_size: Count
    """Sequences in an optimizer step, over all processes."""

    seed: int
    """Of the adapter's first values, the data order and dropout."""

    precision: Precision
    """Data type of the frozen base and of the arithmetic."""

    frozen_dtype: Frozen
    """How the frozen base is kept in memory."""

    frozen_arithmetic: Arithmetic
    """What products with a base frozen in FP8 are computed in."""

    recompute: Recompute | None = None
    """What the backward pass computes again; null: selective on GPUs, none on CPUs."""

    checkpoint: RunCheckpoint
    """When checkpoints are saved."""

    select: Select
    """Which checkpoint becomes the adapter."""

    validation: RunValidation
    """When the validation loss is measured, and what ends training early."""

    samples: RunSamples | None = None
    """null: none are generated."""

    parallelism: RunParallelism
    """How the workers divide the model and the data."""

    overrides: FreeObject
    """Fields of torchtitan's Trainer.Config, by their dotted paths."""
