"""run.json, which every container reads: the contract between the operator, the trainer and the converter.

contract/README.md says what it is for; contract/run.schema.json is generated from here. Its models are its
own: the spec's rules were obeyed, and its defaults filled in, before a run file was made.
"""

from typing import Annotated, Literal

from pydantic import Field

from finetune_operator.api.base import ApiModel
from finetune_operator.api.dataset import Rows, Share
from finetune_operator.api.export import ExportDtype, PushFormat
from finetune_operator.api.formats import FreeObject, ObjectName, RunId
from finetune_operator.api.model_source import Layers
from finetune_operator.api.training import Flavor, Frozen, Precision, Recompute, Schedule, Select

Count = Annotated[int, Field(ge=1)]
TorchDevice = Literal["cpu", "cuda"]


class RunPaths(ApiModel):
    """Folders and files, relative to the volume's root."""

    base: str
    """The base model's folder."""

    run: str
    """The run's own folder."""


class RunModel(ApiModel):
    """The base model, and where it comes from."""

    uri: str
    """As in the spec."""

    revision: str | None = None
    """Of an hf:// model; null: main."""

    layers: Layers = "all"
    """debug: the base's first dense layer and its first layer of experts alone are in paths.base."""

    verify: bool
    """Whether the model that is trained is compared with transformers' own first."""


class RunSource(Rows):
    """A dataset, where it comes from, where it is in the volume, and how its rows are read."""

    uri: str
    """As in the spec."""

    path: str
    """Its file, folder or glob, relative to the volume's root; of a remote one the folder it is fetched to.
    """

    share: Share | None = None
    """Its share of the tokens that the loss counts; null: in proportion to its size."""


class RunDataset(ApiModel):
    """The data to train on."""

    sources: Annotated[list[RunSource], Field(min_length=1)]
    """One dataset, or several."""

    validation_share: float
    """The share of each source's documents that is kept out of training."""


class RunAdapterSource(ApiModel):
    """The adapter that training starts from."""

    uri: str
    """As in the spec."""

    path: str
    """Its folder, relative to the volume's root; of a remote one the folder it is fetched to."""

    revision: str | None = None
    """Of an hf:// adapter; null: main."""


class RunLora(ApiModel):
    """The adapter: W + (alpha / rank) * B @ A, with W frozen."""

    rank: Count
    """Rank of the adapter's matrices."""

    alpha: float
    """Scale of the adapter."""

    dropout: float
    """Probability of dropping an adapter's input."""

    targets: list[str]
    """What gets an adapter: groups or module names."""

    use_rslora: bool
    """Scale by alpha / sqrt(rank) instead."""

    from_: Annotated[RunAdapterSource | None, Field(alias="from")] = None
    """null: training starts from the base."""


class RunCheckpoint(ApiModel):
    """When the adapter and the optimizer are saved."""

    interval: Count
    """Steps between two checkpoints."""

    keep: Count
    """How many of the newest stay."""


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


class RunTraining(ApiModel):
    """How the adapter is trained."""

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

    frozen_arithmetic: Frozen
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


class RunWorkers(ApiModel):
    """The processes that train."""

    nodes: Count
    """torchrun agents."""

    processes_per_node: Count
    """Processes of each agent."""

    device: TorchDevice
    """What they compute on, by torch's name."""


class RunPush(ApiModel):
    """Where the merged model is pushed to."""

    uri: str
    """oci://, s3:// or hf://."""

    format: PushFormat
    """What an oci:// model is in the registry."""


class RunExport(ApiModel):
    """The model that comes out."""

    dtype: ExportDtype
    """Data type of the merged weights."""

    shards: Count
    """Pods that merge side by side."""

    verify: bool
    """Whether the gate is asked before the model is released."""

    sign: bool
    """Whether the gate signs the model, with the key in MODEL_SIGNING_KEY."""

    adapter_only: bool
    """Whether nothing is merged."""

    push: RunPush | None = None
    """null: the model stays in the volume."""


class RunFile(ApiModel):
    """The whole of run.json, schemaVersion 1; every field is there, null where the job leaves it out. Without
    a flavor it is auto."""

    schema_version: Literal[1]
    namespace: ObjectName
    name: ObjectName
    run: RunId
    paths: RunPaths
    model: RunModel
    flavor: Flavor = "auto"
    dataset: RunDataset
    lora: RunLora
    training: RunTraining
    workers: RunWorkers
    export: RunExport
