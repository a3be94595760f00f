"""The run file (contract/README.md): what to fine-tune, from what, on which machines, into which folders."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Literal

from finetune_trainer.contract.failure import ConfigurationError, Reason
from finetune_trainer.contract.run_data import Dataset, Evaluation
from finetune_trainer.contract.run_training import Training
from finetune_trainer.contract.tracking import Tracking
from finetune_trainer.contract.typed_json import read_object

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Folders and files relative to the volume's mount point."""

    base: str
    run: str


@dataclass(frozen=True, kw_only=True)
class Model:
    uri: str
    """`hf://org/name`, `s3://bucket/prefix`, or a path in the volume."""
    revision: str | None
    layers: Literal["all", "debug"] = "all"
    """debug: the base's first dense layer and its first layer of experts alone."""
    verify: bool
    """Compare the model that is trained with transformers', on this base."""


@dataclass(frozen=True, kw_only=True)
class AdapterSource:
    uri: str
    """`hf://org/name`, `s3://bucket/prefix`, or a path in the volume."""
    path: str
    """In the volume; of a remote source the folder that its files are fetched into."""
    revision: str | None


@dataclass(frozen=True, kw_only=True)
class Lora:
    rank: int
    alpha: float
    dropout: float
    targets: tuple[str, ...]
    """Groups (`attention`, `mlp`, `experts`) or module names."""
    use_rslora: bool
    dora: bool = False
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    from_: AdapterSource | None = None
    """The adapter that training starts from. None: from the base."""


@dataclass(frozen=True, kw_only=True)
class Workers:
    nodes: int
    processes_per_node: int
    device: Literal["cpu", "cuda"]

    @property
    def world_size(self) -> int:
        return self.nodes * self.processes_per_node


@dataclass(frozen=True, kw_only=True)
class PushTarget:
    uri: str
    format: Literal["image", "modelpack"]


@dataclass(frozen=True, kw_only=True)
class Export:
    dtype: str
    shards: int
    verify: bool
    sign: bool
    adapter_only: bool
    push: PushTarget | None


@dataclass(frozen=True, kw_only=True)
class RunFile:
    schema_version: int
    namespace: str
    name: str
    run: str
    paths: Paths
    model: Model
    flavor: str = "auto"
    dataset: Dataset
    lora: Lora
    training: Training
    tracking: Tracking = field(default_factory=Tracking)
    workers: Workers
    export: Export
    evaluation: Evaluation | None = None


@dataclass(frozen=True, kw_only=True)
class RunFolders:
    """Where a run reads and writes, with the volume mounted at `root`."""

    root: Path
    paths: Paths

    @property
    def base(self) -> Path:
        return self.root / self.paths.base

    @property
    def run(self) -> Path:
        return self.root / self.paths.run

    @property
    def checkpoints(self) -> Path:
        return self.run / "checkpoints"

    @property
    def adapter(self) -> Path:
        return self.run / "adapter"

    @property
    def selection(self) -> Path:
        """Which checkpoint the adapter is, and why."""
        return self.run / "selection.json"

    @property
    def metrics(self) -> Path:
        return self.run / "metrics.jsonl"

    @property
    def prepared(self) -> Path:
        return self.run / "prepared.json"

    @property
    def data_report(self) -> Path:
        return self.run / "data-report.json"

    def questions(self, task: str) -> Path:
        """A task's questions and what is expected, a line each."""
        return self.run / "evaluation" / f"{task}.jsonl"

    @property
    def report(self) -> Path:
        return self.run / "report.html"

    @property
    def tokens(self) -> Path:
        """The tokenized documents; below it, which of them train and which validate."""
        return self.run / "tokens"


def load_run(path: Path) -> RunFile:
    """Read a run file.

    Raises:
        ConfigurationError: not JSON, another schema version, a key unknown or missing, a wrong type.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _invalid(f"cannot read the run file {path}: {error.strerror}") from error
    except ValueError as error:
        raise _invalid(f"the run file {path} is not JSON: {error}") from error
    version = document.get("schemaVersion") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        raise _invalid(f"{path}: schemaVersion is {version!r}, this trainer reads {SCHEMA_VERSION}")
    run: RunFile = read_object(RunFile, document, _invalid)
    for folder in fields(run.paths):
        _check_path(f"paths.{folder.name}", getattr(run.paths, folder.name))
    for number, source in enumerate(run.dataset.sources):
        _check_path(f"dataset.sources[{number}].path", source.path)
    for task in run.evaluation.tasks if run.evaluation else ():
        _check_path(f"evaluation.tasks.{task.name}.path", task.source.path)
    if run.lora.from_ is not None:
        _check_path("lora.from.path", run.lora.from_.path)
    if not run.dataset.sources:
        raise _invalid("dataset.sources: is empty")
    if (run.training.steps is None) == (run.training.epochs is None):
        raise _invalid("training: set exactly one of steps and epochs")
    return run


def _check_path(where: str, value: str) -> None:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise _invalid(f"{where}: {value!r} is not a path inside the volume")


def _invalid(message: str) -> ConfigurationError:
    return ConfigurationError(
        message,
        Reason.RUN_FILE_INVALID,
        remedy="The operator and the trainer image must be of the same release",
    )
