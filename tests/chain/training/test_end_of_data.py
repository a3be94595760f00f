"""A run whose data ends before its steps, with a validation loss on the way."""

import pytest
from training_run import TrainingRun

pytestmark = pytest.mark.chain


def test_run_ends_with_its_data_and_validates_at_checkpoints(run: TrainingRun) -> None:
    run.execute("--sequences", "22", "--validate")
    assert [step["step"] for step in run.steps] == [1, 2, 3, 4, 5]
    assert [step["step"] for step in run.steps if "validationLoss" in step] == [1, 2, 4]
    assert run.checkpoints == ["step-2", "step-4", "step-5"]
    assert (run.folder / "adapter/adapter_config.json").exists()
