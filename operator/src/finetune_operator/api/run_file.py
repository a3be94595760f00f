"""run.json, which every container reads: the contract between the operator, the trainer and the converter.

contract/README.md says what it is for; contract/run.schema.json is generated from here. Its models are its
own: the spec's rules were obeyed, and its defaults filled in, before a run file was made.
"""

from typing import Annotated, Literal

from pydantic import Field

from finetune_operator.api.base import ApiModel
from finetune_operator.api.export import ExportDtype, PushFormat
from finetune_operator.api.formats import ObjectName, RunId
from finetune_operator.api.model_source import Layers
from finetune_operator.api.run_data import RunDataset, RunEvaluation
from finetune_operator.api.run_tracking import RunTracking
from finetune_operator.api.run_training import Count, RunTraining
from finetune_operator.api.training import Flavor

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


class RunAdapterSource(ApiModel):
    """The adapter that training starts from."""

    uri: str
    """As in the spec; of another job's adapter its path."""

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

    dora: bool = False
    """Train the norms of rows, too."""

    rank_pattern: dict[str, Count] = {}
    """Ranks of single modules."""

    alpha_pattern: dict[str, float] = {}
    """Alphas of single modules."""

    from_: Annotated[RunAdapterSource | None, Field(alias="from")] = None
    """null: training starts from the base."""


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
    tracking: RunTracking = Field(default_factory=RunTracking)
    workers: RunWorkers
    export: RunExport
    evaluation: RunEvaluation | None = None
    """null: nothing is asked, and the gate alone decides."""
