"""SIGKILL at any moment costs the steps since the last checkpoint and nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from synthetic_data import write_tokens
from training_run import TrainingRun
from waiting import HANG_SECONDS

pytestmark = pytest.mark.chain

SCRIPT = Path(__file__).with_name("killed_case.py")
TIMES = 20


def test_run_killed_twenty_times_ends_with_the_weights_of_the_undisturbed_one(
    tmp_path: Path, tiny_base: Path
) -> None:
    settings = {
        "training.steps": 40,
        "training.microBatchSize": 1,
        "training.globalBatchSize": 2,
        "training.checkpoint.keep": 2,
        "lora.dropout": 0.1,  # the generator's state counts
    }
    undisturbed, killed = (
        TrainingRun(tmp_path / name, tiny_base).having(settings) for name in ("undisturbed", "killed")
    )
    for run in (undisturbed, killed):
        write_tokens(run.folder / "tokens")
    command = [sys.executable, str(SCRIPT), "--run", str(killed.write()), "--times", str(TIMES)]
    command += ["--undisturbed", str(undisturbed.root), "--killed", str(killed.root)]
    result = subprocess.run(
        command,
        env=killed.environment,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )
    print(result.stdout)
    assert result.returncode == 0, f"{result.stdout}{result.stderr}{(killed.root / 'log.txt').read_text()}"
    assert result.stdout.count("killed; ") == TIMES

    expected = load_file(undisturbed.folder / "adapter/adapter_model.safetensors")
    found = load_file(killed.folder / "adapter/adapter_model.safetensors")
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert killed.checkpoints == ["step-38", "step-40"]
    shutil.rmtree(tmp_path)
