"""One process against two: the same losses and gradient norms, however the work is divided."""

import pytest
from training_run import TrainingRun, assert_same_curve

pytestmark = pytest.mark.chain


@pytest.mark.parametrize(
    "parallelism",
    [
        pytest.param({}, id="fsdp"),
        pytest.param({"expert": 2}, id="expert"),
        pytest.param({"tensor": 2}, id="tensor"),
        pytest.param({"tensor": 2, "expert": 2}, id="tensor and expert"),
        pytest.param({"pipeline": 2}, id="pipeline"),
    ],
)
def test_two_processes_train_as_one(
    run: TrainingRun, trained: TrainingRun, parallelism: dict[str, int]
) -> None:
    settings = {f"training.parallelism.{axis}": degree for axis, degree in parallelism.items()}
    run.having({"workers.processesPerNode": 2} | settings).execute()
    assert_same_curve(run.steps, trained.steps)
