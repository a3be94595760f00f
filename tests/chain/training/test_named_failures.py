"""A training that goes wrong says where, and what to look at."""

import json

import pytest
from synthetic_data import write_tokens
from training_run import TrainingRun

pytestmark = pytest.mark.chain


def test_loss_that_is_not_finite_names_step_checkpoint_and_lines(run: TrainingRun) -> None:
    write_tokens(run.folder / "tokens")
    run.having(
        {"training.learningRate": 1e30, "training.schedule": "constant", "training.checkpoint.interval": 1}
    )
    result = run.execute("--tokens", expect=2)
    step = run.steps[-1]["step"]
    told = json.loads((run.root / "termination.json").read_text())
    assert told["reason"] == "LossNotFinite"
    assert (
        f"not finite at step {step + 1:.0f}; the last good checkpoint is step-{step:.0f};" in told["message"]
    )
    lines = told["message"].rpartition("the dataset's lines ")[2].split(", ")
    assert 4 <= len(lines) <= 12
    assert all(1 <= int(line) <= 50 for line in lines)
    assert "Traceback" not in result.stderr
