"""A training that goes wrong says where, and what to look at."""

import json

import pytest
from synthetic_data import write_tokens
from training_run import TrainingRun, assert_same_curve

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


@pytest.mark.parametrize("targets", [pytest.param(["attention", "experts"], id="attention-and-experts")])
def test_gradients_that_are_not_finite_name_the_rank_and_change_nothing(run: TrainingRun, targets) -> None:
    write_tokens(run.folder / "tokens")
    run.having({"lora.targets": targets, "training.steps": 4, "training.checkpoint.interval": 1})
    run.having({"workers.processesPerNode": 2})
    result = run.execute("--tokens", "--poisoned-rank", "1", expect=2)
    assert "the gradients are not finite at step 3; the last good checkpoint is step-2; " in result.stderr
    assert "it came up on rank 1, whose batch has the dataset's lines " in result.stderr
    assert run.checkpoints == ["step-1", "step-2"]
    assert [step["slowestRank"] for step in run.steps] == [1, 1]
    run.execute("--tokens")
    resumed = run.steps
    undisturbed = TrainingRun(run.root / "undisturbed", run.root / "models/tiny-base")
    undisturbed.document |= {key: run.document[key] for key in ("lora", "training", "workers")}
    write_tokens(undisturbed.folder / "tokens")
    undisturbed.execute("--tokens")
    assert_same_curve(resumed, undisturbed.steps[2:])
