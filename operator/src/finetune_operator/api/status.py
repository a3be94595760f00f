"""The status of a FineTuneJob, and conditions: written by the operator, read by people and controllers."""

from typing import Annotated, Literal

from pydantic import Field

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import Time


class ConditionStatus(ApiModel):
    """metav1.Condition, as KEP-1623 has it."""

    type: Annotated[str, Field(max_length=316)]
    """What is said of the object, such as Complete."""

    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""

    observed_generation: int | None = None
    """The generation of the spec that this was said of."""

    last_transition_time: Time
    """When status last changed."""

    reason: Annotated[str, Field(max_length=1024)]
    """Why, in one word, for programs."""

    message: Annotated[str, Field(max_length=32768)]
    """Why, for people, and what to do."""


Conditions = Annotated[
    list[ConditionStatus],
    Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
]


class SampleStatus(ApiModel):
    """An answer to one of training.samples' prompts, both shortened."""

    prompt: str
    """What was asked."""

    text: str
    """What the adapter on its base answers."""


class ProgressStatus(ApiModel):
    """How far the stage that runs has come; what is not known is left out."""

    stage: str | None = None
    """The stage that said this."""

    step: int | None = None
    """Optimizer steps done, or tensors merged."""

    total_steps: int | None = None
    """Steps in all."""

    loss: float | None = None
    """Training loss of the newest step."""

    validation_loss: float | None = None
    """Newest loss on the data held out."""

    reward_accuracy: float | None = None
    """Of the newest step's preference pairs, the share whose chosen answer has the greater reward."""

    reward_margin: float | None = None
    """By how much it is greater, on average."""

    tokens_per_second: float | None = None
    """Tokens a second, over all processes."""

    expert_load: float | None = None
    """Tokens of the fullest expert over the mean of its layer, in the most uneven layer."""

    expert_rank_load: float | None = None
    """Tokens of the fullest expert-parallel rank over the mean, where that is most."""

    slowest_rank: int | None = None
    """The rank that the others waited for most in the newest step."""

    slowdown: float | None = None
    """What that rank took for what it does alone, over a rank in the middle."""

    eta_seconds: float | None = None
    """Seconds that the stage still takes at this rate."""

    last_checkpoint: str | None = None
    """The newest complete checkpoint."""

    samples: list[SampleStatus] | None = None
    """The newest answers to training.samples' prompts."""

    samples_step: int | None = None
    """The step that they are of; 0 is before training."""

    bytes_done: int | None = None
    """Bytes of the base that are fetched, or that a training process has loaded of its part."""

    bytes_total: int | None = None
    """Bytes to fetch or to load in all."""


class SelectionStatus(ApiModel):
    """Which step the adapter is, as the trainer tells it at its end."""

    step: int
    """The step that is exported."""

    why: Annotated[str, Field(max_length=1024)]
    """Why it is this one."""

    validation_loss: float | None = None
    """Its loss on the data held out."""

    first_validation_loss: float | None = None
    """The loss before training."""

    stopped_early: bool | None = None
    """Whether training ended before its last step, as training.validation.patience says."""


_Count = Annotated[int, Field(ge=0, le=2**31 - 1)]


class BaseStatus(ApiModel):
    """The base's shape, as prepare read it in its config.json, whose names these are; dtype is its files'."""

    vocab_size: _Count
    hidden_size: _Count
    num_hidden_layers: _Count
    first_k_dense_replace: _Count
    num_attention_heads: _Count
    q_lora_rank: _Count
    kv_lora_rank: _Count
    qk_nope_head_dim: _Count
    qk_rope_head_dim: _Count
    v_head_dim: _Count
    intermediate_size: _Count
    moe_intermediate_size: _Count
    n_routed_experts: _Count
    n_shared_experts: _Count
    num_experts_per_tok: _Count
    num_nextn_predict_layers: _Count
    has_expert_bias: bool
    max_position_embeddings: _Count
    dtype: Literal["float32", "bfloat16", "float16", "float8"]


class ScoreStatus(ApiModel):
    """What base and merged model reached in one of evaluation.tasks."""

    task: str
    """The task's name."""

    metric: str
    """What was measured."""

    base: float
    """The base's."""

    tuned: float
    """The merged model's."""

    rows: int
    """Of how many rows."""

    required: str | None = None
    """What evaluation.require says of it."""


class FineTuneJobStatus(ApiModel):
    """What a job is doing. Everything in it can be computed again; nothing in it decides anything."""

    observed_generation: int | None = None
    """The generation of the spec that this status is about."""

    phase: str | None = None
    """One word for people, computed from the conditions."""

    run: str | None = None
    """Id of the run: the hash of all that decides the weights."""

    stage: str | None = None
    """The stage that runs or waits: prepare, train, merge-shards, merge, verify, evaluate or push."""

    restarts: int | None = None
    """Attempts that failed and count against failurePolicy.maxRestarts."""

    start_time: Time | None = None
    """When the first pod was started."""

    completion_time: Time | None = None
    """When the last stage was done."""

    progress: ProgressStatus | None = None
    """How far the stage that runs has come."""

    base: BaseStatus | None = None
    """What prepare read of the base: by it is known how large the model is that comes out."""

    tracking: Annotated[dict[str, Annotated[str, Field(max_length=1024)]], Field(max_length=8)] | None = None
    """Where the run's metrics are to be seen: by tensorboard, wandb, mlflow, trackio."""

    selection: SelectionStatus | None = None
    """Which step the adapter is, and why."""

    evaluation: list[ScoreStatus] | None = None
    """What base and merged model reached, by task."""

    adapter_path: str | None = None
    """The adapter's folder in the volume, in PEFT format."""

    model_path: str | None = None
    """The merged model's folder in the volume, in Hugging Face format."""

    pushed_to: str | None = None
    """Where the merged model was pushed to."""

    conditions: Conditions = []
    """Fits, Prepared, Trained, Converted, Verified, Evaluated and Pushed where asked for, Complete, Failed,
    Reconciling and Stalled."""
