from pathlib import Path

import pytest
from random_base import write_tiny_base
from training_run import TrainingRun

SAMPLES = {"prompts": ["t5 t6 t7", "t800"], "maxTokens": 6, "maxSeconds": 3600}


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "tiny-base"
    write_tiny_base(folder)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> TrainingRun:
    """A whole run in one process, without interruption: what every other run is compared with."""
    run = TrainingRun(tmp_path_factory.mktemp("one-process"), tiny_base)
    # Nothing is held out: samples are due as a validation would be. Other runs have none, and train alike.
    run.having({"training.samples": SAMPLES, "training.validation": {"interval": 10}})
    run.having({"training.checkpoint.adapters": True})
    run.execute("--dump")
    return run


@pytest.fixture
def run(tmp_path: Path, tiny_base: Path) -> TrainingRun:
    return TrainingRun(tmp_path, tiny_base)
