"""The last step of an epoch holds what is left; a process may then have nothing of it."""

import math

import pytest
from synthetic_data import write_tokens
from training_run import TrainingRun, assert_same_curve

pytestmark = pytest.mark.chain

# 0.7 of the 30 sequences are 21: five steps of four and one of a single sequence.
SETTINGS = {"training.steps": None, "training.epochs": 0.7, "training.microBatchSize": 1}


def test_a_last_step_of_one_sequence_trains_the_same_on_two_processes(tmp_path, tiny_base) -> None:
    runs = []
    for processes in (1, 2):
        run = TrainingRun(tmp_path / str(processes), tiny_base).having(SETTINGS)
        run.having({"workers.processesPerNode": processes, "training.globalBatchSize": 4})
        write_tokens(run.folder / "tokens")
        run.execute("--tokens")
        runs.append(run.steps)
    assert [step["step"] for step in runs[0]] == [1, 2, 3, 4, 5, 6]
    assert all(math.isfinite(step["loss"]) and step["gradNorm"] > 0 for step in runs[0])
    assert_same_curve(runs[1], runs[0])
