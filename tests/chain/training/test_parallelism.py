"""One process against two: the same losses and gradient norms, however the work is divided."""

from pathlib import Path

import pytest
from training_run import Steps, TrainingRun

TOLERANCE = 1e-3

pytestmark = pytest.mark.chain


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Steps:
    run = TrainingRun(tmp_path_factory.mktemp("one"), tiny_base)
    run.execute()
    return run.steps


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
    run: TrainingRun, one_process: Steps, parallelism: dict[str, int]
) -> None:
    settings = {f"training.parallelism.{axis}": degree for axis, degree in parallelism.items()}
    run.having({"workers.processesPerNode": 2} | settings).execute()
    assert [step["step"] for step in run.steps] == [1, 2, 3, 4]
    for step, expected in zip(run.steps, one_process, strict=True):
        assert step["loss"] == pytest.approx(expected["loss"], abs=TOLERANCE)
        assert step["gradNorm"] == pytest.approx(expected["gradNorm"], abs=TOLERANCE)
