"""A run whose data ends before its steps, with a validation loss on the way, tracked by other tools too."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_run import TrainingRun

pytestmark = pytest.mark.chain


def test_run_ends_with_its_data_and_validates_at_checkpoints(run: TrainingRun) -> None:
    tracking = {"metrics.enable_tensorboard": True, "metrics.enable_wandb": True}
    run.having({"training.overrides": tracking}).execute("--sequences", "22", "--validate")
    assert [step["step"] for step in run.steps] == [1, 2, 3, 4, 5]
    assert [step["step"] for step in run.steps if "validationLoss" in step] == [1, 2, 4]
    assert run.checkpoints == ["step-2", "step-4", "step-5"]
    assert (run.folder / "adapter/adapter_config.json").exists()
    assert _tensorboard_steps(run) == [1, 2, 3, 4, 5]
    assert list(run.folder.glob("tb/*/wandb/offline-run-*-default-faq-3f2a9c1b/*.wandb"))


def _tensorboard_steps(run: TrainingRun) -> list[int]:
    events = EventAccumulator(str(next(run.folder.glob("tb/*"))))
    events.Reload()
    return [event.step for event in events.Scalars("loss_metrics/global_avg_loss")]
