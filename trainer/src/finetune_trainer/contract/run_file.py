"""The run file (contract/README.md): what to fine-tune, from what, on which machines, into which folders."""

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args, get_origin

from finetune_trainer.contract.failure import ConfigurationError, Reason

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
    verify: bool
    """Compare the model that is trained with transformers', on this base."""


@dataclass(frozen=True, kw_only=True)
class DataSource:
    uri: str
    """`hf://org/name[/path]`, `s3://bucket/key`, or a path in the volume; the path may be a glob."""
    path: str
    """In the volume; of a remote source the folder that its files are fetched into."""
    revision: str | None
    format: Literal["auto", "chat", "sharegpt", "alpaca", "prompt-completion", "text"]
    train: Literal["all", "last", "weighted"]
    thoughts: Literal["template", "keep"]
    ignore_columns: tuple[str, ...]
    split: str
    share: float | None
    """Of the tokens that the loss counts, beside the other sources'. None: in proportion to its size."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    sources: tuple[DataSource, ...]
    validation_share: float
    """Share of each source's documents, 0 to 1, kept out of training."""


@dataclass(frozen=True, kw_only=True)
class Lora:
    rank: int
    alpha: float
    dropout: float
    targets: tuple[str, ...]
    """Groups (`attention`, `mlp`, `experts`) or module names."""
    use_rslora: bool


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    interval: int
    """Steps between checkpoints."""
    keep: int


@dataclass(frozen=True, kw_only=True)
class Parallelism:
    data: int | None
    """None: all processes that the other degrees leave."""
    tensor: int
    expert: int
    pipeline: int
    context: int


@dataclass(frozen=True, kw_only=True)
class Training:
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
    frozen_arithmetic: Literal["precision", "float8"]
    """How the frozen base is kept: as `precision` says, or in FP8."""
    recompute: Literal["none", "selective", "full"] | None
    """None: the trainer's own choice."""
    checkpoint: Checkpoint
    select: Literal["best", "last"]
    """Which checkpoint becomes the adapter."""
    parallelism: Parallelism
    overrides: Mapping[str, Any]
    """Fields of torchtitan's `Trainer.Config` by dotted path."""


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
    workers: Workers
    export: Export


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
    run = typing.cast(RunFile, _read(RunFile, document, ""))
    for field in fields(run.paths):
        _check_path(f"paths.{field.name}", getattr(run.paths, field.name))
    for number, source in enumerate(run.dataset.sources):
        _check_path(f"dataset.sources[{number}].path", source.path)
    if not run.dataset.sources:
        raise _invalid("dataset.sources: is empty")
    if (run.training.steps is None) == (run.training.epochs is None):
        raise _invalid("training: set exactly one of steps and epochs")
    return run


def _check_path(where: str, value: str) -> None:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise _invalid(f"{where}: {value!r} is not a path inside the volume")


def _read(expected: Any, value: Any, where: str) -> Any:
    """`value` as the type `expected`; `where` is its dotted path in the file."""
    if is_dataclass(expected):
        return _read_object(typing.cast(type, expected), value, where)
    origin = get_origin(expected)
    if origin is Literal:
        if value in get_args(expected):
            return value
        raise _invalid(f"{where}: {value!r} is not one of {', '.join(get_args(expected))}")
    if origin in (types.UnionType, typing.Union):  # X | None; with a Literal it is the other
        (inner,) = (member for member in get_args(expected) if member is not types.NoneType)
        return None if value is None else _read(inner, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_read(get_args(expected)[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is Mapping and isinstance(value, dict):
        return types.MappingProxyType(value)
    return _read_scalar(expected, value, where)


def _read_scalar(expected: Any, value: Any, where: str) -> Any:
    if expected is float and type(value) is int:
        return float(value)
    if isinstance(expected, type) and type(value) is expected:  # bool is an int to isinstance
        return value
    name = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}.get(
        expected, "a list"
    )
    raise _invalid(f"{where}: {value!r} is not {'an object' if get_origin(expected) is Mapping else name}")


def _read_object(expected: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _invalid(f"{where}: {value!r} is not an object")
    hints = typing.get_type_hints(expected)
    names = {_camel_case(field.name): field.name for field in fields(expected)}
    optional = {_camel_case(field.name) for field in fields(expected) if field.default is not MISSING}
    prefix = f"{where}." if where else ""
    if unknown := sorted(value.keys() - names.keys()):
        raise _invalid(f"{prefix}{unknown[0]}: unknown field")
    if missing := [key for key in names if key not in value and key not in optional]:
        raise _invalid(f"{prefix}{missing[0]}: missing")
    given = {
        name: _read(hints[name], value[key], prefix + key) for key, name in names.items() if key in value
    }
    return expected(**given)


def _camel_case(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


def _invalid(message: str) -> ConfigurationError:
    return ConfigurationError(
        message,
        Reason.RUN_FILE_INVALID,
        remedy="The operator and the trainer image must be of the same release",
    )
