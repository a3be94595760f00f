"""run.json, the contract between the operator and the stages, as frozen dataclasses."""

import json
import re
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_type_hints

from finetune_trainer.failure import ConfigurationError

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Folders and files, relative to the volume's root."""

    base: str
    dataset: str
    run: str


@dataclass(frozen=True, kw_only=True)
class Model:
    uri: str
    revision: str | None


@dataclass(frozen=True, kw_only=True)
class Dataset:
    uri: str
    format: Literal["chat", "text"]
    split: str
    validation_share: float


@dataclass(frozen=True, kw_only=True)
class Lora:
    rank: int
    alpha: float
    dropout: float
    targets: list[str]
    use_rslora: bool


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    interval: int
    keep: int


@dataclass(frozen=True, kw_only=True)
class Parallelism:
    data: int | None
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
    schedule: Literal["constant", "linear", "cosine"]
    sequence_length: int
    micro_batch_size: int
    global_batch_size: int | None
    seed: int
    precision: Literal["float32", "bfloat16"]
    checkpoint: Checkpoint
    parallelism: Parallelism
    overrides: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Workers:
    nodes: int
    processes_per_node: int
    device: Literal["cpu", "cuda"]


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """One training run. `root` is where the volume is mounted."""

    root: Path
    schema_version: int
    namespace: str
    name: str
    run: str
    paths: Paths
    model: Model
    flavor: str
    dataset: Dataset
    lora: Lora
    training: Training
    workers: Workers

    @property
    def base_path(self) -> Path:
        return self.root / self.paths.base

    @property
    def dataset_path(self) -> Path:
        return self.root / self.paths.dataset

    @property
    def run_path(self) -> Path:
        return self.root / self.paths.run


def load_run(path: Path, root: Path) -> RunFile:
    """Read a run file. Raises ConfigurationError naming what is missing."""
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    if not isinstance(document, dict) or document.get("schemaVersion") != SCHEMA_VERSION:
        raise _unreadable(path, f"schemaVersion is not {SCHEMA_VERSION}")
    run: RunFile = _build(RunFile, document | {"root": root.resolve()}, path, "")
    return run


def _build(kind: Any, document: dict[str, Any], path: Path, prefix: str) -> Any:
    hints, values = get_type_hints(kind), {}
    for field in fields(kind):
        key = re.sub(r"_(\w)", lambda match: match[1].upper(), field.name)
        if key not in document:
            raise _unreadable(path, f"{prefix}{key} is missing")
        value, hint = document[key], hints[field.name]
        values[field.name] = _build(hint, value, path, f"{prefix}{key}.") if is_dataclass(hint) else value
    return kind(**values)


def _unreadable(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        reason="RunFileInvalid", message=f"{path}: {problem}", remedy="Let the operator write the file again"
    )
