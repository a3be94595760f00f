"""The chain tests' training runs, for benchmarks."""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/chain/training"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/builders"))

from parallelism_table import FLOAT8_GROUP, ONE_PROCESS, PARALLELISMS, STEPS, TARGETS, run_table
from peft_training import BATCH, TRAINER_SETTINGS, peft_losses, synthetic_rows
from random_base import write_tiny_base
from training_run import TrainingRun

__all__ = [
    "BATCH",
    "FLOAT8_GROUP",
    "ONE_PROCESS",
    "PACKAGES",
    "PARALLELISMS",
    "STEPS",
    "TARGETS",
    "TRAINER_SETTINGS",
    "peft_losses",
    "run_table",
    "synthetic_rows",
    "training_run",
    "workshop",
]

PACKAGES = ("torch", "torchtitan", "transformers", "peft", "safetensors")


@contextmanager
def workshop() -> Iterator[Path]:
    """A folder with a random base model in float32, removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        write_tiny_base(Path(folder) / "base")
        yield Path(folder)


def training_run(folder: Path, name: str, settings: Mapping[str, Any]) -> TrainingRun:
    (folder / name).mkdir()
    return TrainingRun(folder / name, folder / "base").having(settings)
