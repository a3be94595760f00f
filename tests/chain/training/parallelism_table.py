"""The cases in which several processes have to compute what one does, all run by one `table_case.py`."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from random_adapter import write_random_adapter
from random_base import write_tiny_base
from training_run import Steps, TrainingRun
from waiting import HANG_SECONDS

from finetune_trainer.model.lora.settings import LoRASettings

TARGETS = ("attention", "mlp", "experts")
PARALLELISMS: dict[str, dict[str, int]] = {
    "fsdp": {},
    "expert": {"expert": 2},
    "tensor": {"tensor": 2},
    "tensor and expert": {"tensor": 2, "expert": 2},
    "pipeline": {"pipeline": 2},
}
COPIES: dict[str, dict[str, int]] = {
    "copies": {"replicate": 2},
    "copies and expert": {"replicate": 2, "expert": 2},
}
"""Two, each sharded over two processes."""
RESIDENT: dict[str, dict[str, Any]] = {
    "resident": {"frozenWeights": "resident"},
    "resident, experts divided": {"frozenWeights": "resident", "expert": 2, "data": 4},
}
"""The base on two processes, and on four of which two share the experts of a layer."""
DIVIDED: dict[str, dict[str, Any]] = {**PARALLELISMS, **COPIES, **RESIDENT}
ONE_PROCESS = "one process"
FLOAT8_GROUP = "float8"
FLOAT8: dict[str, Any] = {"lora.targets": list(TARGETS), "training.frozenDtype": "float8"}
FLOAT8_PRODUCTS: dict[str, Any] = {**FLOAT8, "training.frozenArithmetic": "float8"}
# Tensor parallelism cuts the blocks of so small a model: what is cut is dequantised, and rounds otherwise.
WHOLE_BLOCKS = ("fsdp", "expert", "pipeline")
FROZEN_IN_FLOAT8 = (*PARALLELISMS, "copies and expert", "resident, experts divided")
DROPOUT: dict[str, Any] = {"lora.targets": list(TARGETS), "lora.dropout": 0.2}
STEPS = 2
SAMPLES: dict[str, Any] = {
    "training.samples": {"prompts": ["t5 t6", "t7", "t8"], "maxTokens": 4, "maxSeconds": 3600}
}
SAMPLED = ("fsdp", "expert")
ADAPTER = "adapters/first"
WARM_START: dict[str, Any] = {
    "lora.targets": list(TARGETS),
    "lora.from": {"uri": ADAPTER, "path": ADAPTER, "revision": None},
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run on several processes, or on one without `parallelism`; `after` names the one it goes on from."""

    settings: Mapping[str, Any]
    parallelism: str | None = None
    steps: int = STEPS
    after: str | None = None

    @property
    def all_settings(self) -> dict[str, Any]:
        degrees = DIVIDED[self.parallelism] if self.parallelism else {}
        processes = degrees.get("data", 2 * degrees.get("replicate", 1)) if self.parallelism else 1
        return {
            "training.steps": self.steps,
            "training.warmupSteps": 0,
            "training.schedule": "constant",
            "training.checkpoint.interval": STEPS,
            "workers.processesPerNode": processes,
            "training.microBatchSize": 1 if processes > 2 else 2,
            **{f"training.parallelism.{axis}": degree for axis, degree in degrees.items()},
            **self.settings,
        }


@dataclass(frozen=True)
class Result:
    steps: Steps
    norms: list[dict[str, float]]
    """Of the gradients at each step, by target."""
    random_states: list[list[int]] = field(repr=False)
    """A rank's."""
    experts: list[list[int]]
    """Of a layer, those that a rank has read from the base."""
    samples: list[list[str]] = field(default_factory=list)
    """The answers before training and after each round of steps."""


def cases() -> dict[str, Case]:
    """By name, each after the one it goes on from."""
    found: dict[str, Case] = {}
    settings: dict[str, Any] = {"lora.targets": list(TARGETS)}
    found[ONE_PROCESS] = Case(settings=settings | SAMPLES)
    for name in DIVIDED:
        own = settings | (SAMPLES if name in SAMPLED else {})
        found[name] = Case(settings=own, parallelism=name)
    found[f"float8, {ONE_PROCESS}"] = Case(settings=FLOAT8, steps=STEPS + 1)
    for name in FROZEN_IN_FLOAT8:
        found[f"float8, {name}"] = Case(settings=FLOAT8, parallelism=name)
        found[f"float8, after {name}"] = Case(settings=FLOAT8, steps=STEPS + 1, after=f"float8, {name}")
    # One step: adapters that then differ in the last bit round some rows otherwise, by a part in a thousand.
    found[f"float8 products, {ONE_PROCESS}"] = Case(settings=FLOAT8_PRODUCTS, steps=1)
    for name in WHOLE_BLOCKS:
        found[f"float8 products, {name}"] = Case(settings=FLOAT8_PRODUCTS, parallelism=name, steps=1)
    found[f"warm start, {ONE_PROCESS}"] = Case(settings=WARM_START, steps=1)
    found["warm start, expert"] = Case(settings=WARM_START, parallelism="expert", steps=1)
    for name in ("fsdp", "tensor and expert"):
        found[f"dropout, {name}"] = Case(settings=DROPOUT, parallelism=name)
    return found


def run_table(folder: Path) -> dict[str, Result]:
    """Run all cases with a base model of their own."""
    write_tiny_base(folder / "base", layers=3)
    settings = LoRASettings(rank=16, alpha=32.0)
    write_random_adapter(folder / ADAPTER, settings, TARGETS, base="models/tiny-base", layers=3)
    files = {name: _run_file(folder, name, case) for name, case in cases().items()}
    command = [sys.executable, str(Path(__file__).with_name("table_case.py")), str(folder)]
    builders = str(Path(__file__).parents[2] / "builders")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "localhost", "PYTHONPATH": builders}
    done = subprocess.run(
        [*command, *map(str, files.values())],
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return {name: Result(**json.loads(result_file(file).read_text())) for name, file in files.items()}


def result_file(run_file: Path) -> Path:
    return run_file.with_suffix(".result.json")


def _run_file(folder: Path, name: str, case: Case) -> Path:
    run = TrainingRun(folder, folder / "base").having(case.all_settings)
    run.document["paths"]["run"] = f"runs/{(case.after or name).replace(' ', '-')}"
    file = folder / f"{name}.json"
    file.write_text(json.dumps(run.document))
    return file
