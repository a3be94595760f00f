"""run.json, which every container reads: the contract between the operator, the trainer and the converter.

contract/README.md says what it is for; contract/run.schema.json is generated from here.
"""

from typing import Literal

from finetune_operator.api.base import ApiModel
from finetune_operator.api.dataset import Dataset
from finetune_operator.api.export import Export
from finetune_operator.api.formats import ObjectName, RunId
from finetune_operator.api.lora import LoraSpec
from finetune_operator.api.model_source import ModelSource
from finetune_operator.api.training import Flavor, TrainingSpec
from finetune_operator.api.workers import Device


class RunPaths(ApiModel):
    """Folders and files, relative to the volume's root."""

    base: str
    """The base model's folder."""

    dataset: str
    """The dataset's file or folder."""

    run: str
    """The run's own folder."""


class RunWorkers(ApiModel):
    """The processes that train."""

    nodes: int
    """torchrun agents."""

    processes_per_node: int
    """Processes of each agent."""

    device: Device
    """What they compute on."""


class RunFile(ApiModel):
    """The whole of run.json, schemaVersion 1; every field is there, null where the job leaves it out."""

    schema_version: Literal[1]
    namespace: ObjectName
    name: ObjectName
    run: RunId
    paths: RunPaths
    model: ModelSource
    flavor: Flavor
    dataset: Dataset
    lora: LoraSpec
    training: TrainingSpec
    workers: RunWorkers
    export: Export
