"""A training run on a volume of its own, described fluently and executed by real torchrun processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from waiting import HANG_SECONDS

GOLDEN = Path(__file__).parents[2] / "golden/run/quickstart.json"
WORKER = Path(__file__).with_name("train_case.py")
BASE = "models/tiny-base"

Steps = list[dict[str, float]]


class TrainingRun:
    """run.json of the quickstart, made small, and what became of it.

    Settings are given by dotted path: run.having({"training.steps": 6, "lora.targets": ["experts"]}).
    """

    def __init__(self, root: Path, base: Path) -> None:
        self.root = root
        self.document: dict[str, Any] = json.loads(GOLDEN.read_text())
        (root / "models").mkdir(parents=True, exist_ok=True)
        if not (root / BASE).exists():
            (root / BASE).symlink_to(base)
        self.having(
            {
                "training.steps": 10,
                "training.sequenceLength": 64,
                "training.microBatchSize": 2,
                "training.globalBatchSize": 4,
                "training.warmupSteps": 2,
                "training.checkpoint.interval": 2,
                "training.checkpoint.keep": 3,
                "workers.processesPerNode": 1,
            }
        )

    def having(self, settings: Mapping[str, Any]) -> "TrainingRun":
        for path, value in settings.items():
            section = self.document
            *parents, name = path.split(".")
            for parent in parents:
                section = section[parent]
            section[name] = value
        return self

    @property
    def processes(self) -> int:
        return int(self.document["workers"]["processesPerNode"])

    @property
    def folder(self) -> Path:
        return self.root / self.document["paths"]["run"]

    @property
    def checkpoints(self) -> list[str]:
        return sorted(entry.name for entry in (self.folder / "checkpoints").iterdir())

    @property
    def steps(self) -> Steps:
        steps: Steps = json.loads((self.root / "record.json").read_text())
        return steps

    @property
    def dump(self) -> dict[str, Any]:
        return load_file(self.root / "dump.safetensors")

    def write(self) -> Path:
        """Write the run file."""
        file = self.root / "run.json"
        file.write_text(json.dumps(self.document))
        return file

    def execute(self, *options: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """Train under torchrun, or in one process without it; fails unless that ends with `expect`."""
        result = subprocess.run(
            self._command(*options),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
        )
        ended_well = result.returncode == expect or (self.processes > 1 and expect and result.returncode)
        assert ended_well, f"exit code {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result

    def start(self, *options: str) -> "subprocess.Popen[str]":
        """Start one process, for tests that interrupt it."""
        return subprocess.Popen(
            self._command(*options),
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def _command(self, *options: str) -> list[str]:
        arguments = [str(WORKER), "--run", str(self.write()), "--root", str(self.root), *options]
        if self.processes == 1:
            return [sys.executable, *arguments]
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={self.processes}", "--"]
        return [sys.executable, *torchrun, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost"}
        alone["MASTER_PORT"] = "0"
        settings = {"OMP_NUM_THREADS": "1", "FINETUNE_PROGRESS_PORT": "0", "WANDB_MODE": "offline"}
        settings["FINETUNE_TERMINATION_LOG"] = str(self.root / "termination.json")
        return os.environ | settings | (alone if self.processes == 1 else {})


def terminate(process: "subprocess.Popen[str]") -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(
        timeout=HANG_SECONDS,
    )


def assert_same_curve(steps: Steps, expected: Steps) -> None:
    """The same steps with the same losses and gradient norms, to 1e-3."""
    assert [step["step"] for step in steps] == [step["step"] for step in expected]
    for step, other in zip(steps, expected, strict=True):
        assert step["loss"] == pytest.approx(other["loss"], abs=1e-3)
        assert step["gradNorm"] == pytest.approx(other["gradNorm"], abs=1e-3)
