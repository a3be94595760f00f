"""How the adapter is trained."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, field_validator
from pydantic_core import PydanticCustomError

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import FreeObject
from finetune_operator.api.parallelism import ParallelismSpec
from finetune_operator.api.rules import Rule

NamedFlavor = Literal["tiny_lora", "deepseek_aghilora", "16B_lora", "671B_lora"]
Flavor = Literal["auto", NamedFlavor]
Schedule = Literal["constant", "linear", "cosine"]
Precision = Literal["float32", "bfloat16"]
Frozen = Literal["precision", "float8"]
Arithmetic = Literal["precision", "float8", "float8WithHead"]
Select = Literal["best", "last"]
Prompt = Annotated[str, StringConstraints(min_length=1, max_length=4000)]
Method = Literal["sft", "dpo"]
DpoLoss = Literal["sigmoid", "hinge", "ipo"]
Recompute = Literal["none", "selective", "full"]

# Fields of torchtitan's Trainer.Config that a field of ours decides.
DECIDED_ELSEWHERE = {
    "training.steps": "training.steps",
    "training.seq_len": "training.sequenceLength",
    "training.local_batch_size": "training.microBatchSize",
    "training.global_batch_size": "training.globalBatchSize",
    "training.max_norm": "training.maxGradNorm",
    "training.dtype": "training.precision",
    "optimizer.lr": "training.learningRate",
    "optimizer.weight_decay": "training.weightDecay",
    "lr_scheduler.warmup_steps": "training.warmupSteps",
    "lr_scheduler.decay_type": "training.schedule",
    "checkpoint.interval": "training.checkpoint.interval",
    "checkpoint.keep_latest_k": "training.checkpoint.keep",
    "validator.freq": "training.validation.interval",
    "debug.seed": "training.seed",
    "parallelism.data_parallel_shard_degree": "training.parallelism.data",
    "parallelism.data_parallel_replicate_degree": "training.parallelism.replicate",
    "parallelism.tensor_parallel_degree": "training.parallelism.tensor",
    "parallelism.expert_parallel_degree": "training.parallelism.expert",
    "parallelism.pipeline_parallel_degree": "training.parallelism.pipeline",
    "parallelism.context_parallel_degree": "training.parallelism.context",
}


class CheckpointSpec(ApiModel):
    """When the adapter and the optimizer are saved, so that a run can resume."""

    interval: Annotated[int, Field(ge=1, le=10_000_000)] = 100
    """Steps between two checkpoints."""

    keep: Annotated[int, Field(ge=1, le=1000)] = 3
    """How many of the newest checkpoints stay."""

    adapters: bool = False
    """Each checkpoint holds the adapter in PEFT format too, a third more than it takes without: a
    ModelDeployment serves it while the job trains (adapters: checkpoint)."""


class ValidationSpec(ApiModel):
    """When the loss on dataset.validationShare is measured, besides before training and after the last step;
    and what ends training early."""

    interval: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Steps between two validations. Default: checkpoint.interval. With select: best each of these steps is
    saved as well, so that it can be the best."""

    patience: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Training ends after so many validations in a row that found no loss below the least before them; the
    one before training counts. Default: never."""


class SamplesSpec(ApiModel):
    """Prompts that the adapter on its base answers, greedily: before training, every validation.interval
    steps, and after the last one."""

    prompts: Annotated[list[Prompt], Field(min_length=1, max_length=8)]
    """What a user asks. Where all data is text, beginnings that are gone on with."""

    max_tokens: Annotated[int, Field(ge=1, le=1024)] = 64
    """Tokens of an answer, at most; a forward pass of the model each."""

    max_seconds: Annotated[int, Field(ge=1, le=3600)] = 60
    """Seconds that all answers at one step take, at most: what is not finished is cut off, and says so."""


class DpoSpec(ApiModel):
    """Direct preference optimisation (Rafailov et al. 2023), in TRL's terms."""

    beta: Annotated[float, Field(gt=0, le=100)] = 0.1
    """How strongly the model is held to the reference: smaller lets it go further away."""

    loss_type: DpoLoss = "sigmoid"
    """sigmoid (DPO's own), hinge (SLiC) or ipo."""


class TrainingSpec(ApiModel):
    """Steps, optimizer, batches and parallelism."""

    method: Method = "sft"
    """sft: supervised, on what the assistant writes. dpo: on preference pairs, of which the chosen answer
    becomes more likely than the rejected one; the reference is the model before training."""

    dpo: DpoSpec | None = None
    """Settings of method dpo. Default: beta 0.1, lossType sigmoid."""

    steps: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Optimizer steps. Give either steps or epochs."""

    epochs: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """Passes over the training data; parts of one count. Give either steps or epochs."""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-4
    """Peak learning rate of AdamW."""

    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Weight decay of AdamW."""

    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients are clipped to this norm."""

    warmup_steps: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Steps over which the learning rate rises from 0. Fewer than steps."""

    schedule: Schedule = "cosine"
    """How the learning rate falls after the warm-up: constant (not at all), linear or cosine (to 0)."""

    sequence_length: Annotated[int, Field(ge=16, le=1_048_576)] = 4096
    """Tokens in a training sequence."""

    micro_batch_size: Annotated[int, Field(ge=1, le=65536)] = 1
    """Sequences a process works on at once."""

    global_batch_size: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Sequences in an optimizer step, over all processes; gradients are accumulated to reach it.
    Default: microBatchSize times the data-parallel degree."""

    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 1
    """Seed of the adapter's first values, the data order and dropout."""

    precision: Precision = "bfloat16"
    """Data type of the frozen base and of the arithmetic. The adapter's own weights stay float32."""

    frozen_dtype: Frozen = "precision"
    """How the frozen base is kept in memory: as precision says, or as float8, in blocks of 128 x 128 with a
    scale each, at half the memory of bfloat16. A base in FP8 then stays as it is, another is rounded to
    it."""

    frozen_arithmetic: Arithmetic = "precision"
    """What products with a base frozen in FP8 are computed in: as precision says, each weight dequantised for
    each use, or float8, the activations quantised in groups of 128 values as DeepSeek-V3 was trained; or
    float8WithHead, the output head too, which DeepSeek keeps in bfloat16. Faster; on GPUs of the Hopper
    generation (H100, H200)."""

    recompute: Recompute | None = None
    """What the backward pass computes again, so that the forward pass need not keep it: none, selective
    (every second matrix product and all that is cheap) or full (whole layers, for the largest models).
    Default: selective on GPUs, none on CPUs."""

    checkpoint: CheckpointSpec = Field(default_factory=CheckpointSpec)
    """When checkpoints are saved and how many stay."""

    select: Select = "last"
    """Which checkpoint becomes the adapter, and so the model. last: the last step's. best: the one with the
    least loss on dataset.validationShare; it is kept beside the newest ones, so there is space needed for
    one more."""

    validation: ValidationSpec = Field(default_factory=ValidationSpec)
    """When the loss on dataset.validationShare is measured, and what ends training early."""

    samples: SamplesSpec | None = None
    """Prompts that are answered as training goes on. Default: none."""

    parallelism: ParallelismSpec = Field(default_factory=ParallelismSpec)
    """How the workers divide the model and the data."""

    overrides: Annotated[FreeObject, Field(max_length=256, json_schema_extra={"maxProperties": 256})] = {}
    """Any other field of torchtitan's Trainer.Config, by its dotted path, such as `compile.enable: true`.
    Checked before the run starts."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.frozenArithmetic == 'precision' || self.frozenDtype == 'float8'",
            problem="only a base frozen in FP8 is computed with in FP8",
            remedy="set training.frozenDtype to float8, or frozenArithmetic to precision",
            field="frozenArithmetic",
        ),
        Rule(
            rule="!has(self.dpo) || self.method == 'dpo'",
            problem="these are settings of another method",
            remedy="set training.method to dpo, or remove dpo",
            field="dpo",
        ),
        Rule(
            rule="self.method == 'sft'"
            " || self.parallelism.tensor * self.parallelism.pipeline * self.parallelism.context == 1",
            problem="dpo is not computed with tensor, pipeline or context parallelism",
            remedy="divide by data, replicate and expert alone",
            field="method",
        ),
        Rule(
            rule="has(self.steps) != has(self.epochs)",
            problem="give either steps or epochs, and only one of them",
            remedy="set training.steps or training.epochs",
        ),
        Rule(
            rule="!has(self.steps) || self.warmupSteps < self.steps",
            problem="the warm-up is as long as the training",
            remedy="make warmupSteps smaller than steps",
            field="warmupSteps",
        ),
        Rule(
            rule="!has(self.samples)"
            " || self.parallelism.tensor * self.parallelism.pipeline * self.parallelism.context == 1",
            problem="no samples are generated with tensor, pipeline or context parallelism",
            remedy="remove samples, or divide by data and expert alone",
            field="samples",
        ),
        # torchtitan's ParallelDims.seq_len_divisor: tp for sequence parallelism,
        # 2 x cp for the load balancer.
        Rule(
            rule="self.sequenceLength % (self.parallelism.tensor"
            " * (self.parallelism.context > 1 ? 2 * self.parallelism.context : 1)) == 0",
            problem="sequenceLength cannot be divided over the tensor and context degrees",
            remedy="make it a multiple of tensor, times 2 x context when context is more than 1",
            field="sequenceLength",
        ),
    )

    @field_validator("overrides")
    @classmethod
    def name_fields_of_trainer_config(cls, overrides: dict[str, Any]) -> dict[str, Any]:
        """Refuse a path that is not dotted, or that a field of ours decides. (CEL cannot see free keys.)"""
        for path in overrides:
            if path in DECIDED_ELSEWHERE:
                raise PydanticCustomError(
                    "decided_elsewhere",
                    "is decided by spec.{ours}",
                    {"ours": DECIDED_ELSEWHERE[path], "key": path, "remedy": "set that field instead"},
                )
            if not all(part.isidentifier() for part in path.split(".")) or "." not in path:
                raise PydanticCustomError(
                    "dotted_path",
                    "is no dotted path",
                    {"key": path, "remedy": "write it as torchtitan does, such as compile.enable"},
                )
        return overrides
