"""A run whose data ends before its steps, with a validation loss on the way, tracked by other tools too."""

import json

import pytest
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_run import TrainingRun

pytestmark = pytest.mark.chain


def test_run_ends_with_its_data_and_validates_at_checkpoints(run: TrainingRun) -> None:
    wandb = {"project": "finetune", "entity": None, "baseUrl": None, "offline": True}
    # One checkpoint is kept, so that the best one lives by being the best.
    run.having({"training.checkpoint.keep": 1, "training.select": "best"})
    run.having({"training.validation": {"interval": 1}, "training.checkpoint.interval": 4})
    # Warming up to far too much: the first checkpoint is the best by a wide margin.
    run.having({"training.learningRate": 0.1, "training.warmupSteps": 9})
    run.having({"tracking": {"tensorboard": {}, "wandb": wandb}}).execute("--sequences", "22", "--validate")
    assert [step["step"] for step in run.steps] == [0, 1, 2, 3, 4, 5]
    losses = {int(step["step"]): step["validationLoss"] for step in run.steps}
    best = min((1, 2, 3, 4, 5), key=losses.__getitem__)
    assert best < 3, losses
    assert run.checkpoints == [f"step-{best}", "step-5", "validation.json"]
    chosen = json.loads((run.folder / "selection.json").read_text())
    assert (chosen["step"], chosen["validationLoss"]) == (best, losses[best])
    assert (chosen["firstValidationLoss"], chosen["stoppedEarly"]) == (losses[0], False)
    assert _shared_with(run, best) > 0 == _shared_with(run, 5)
    assert _tensorboard_steps(run) == [1, 2, 3, 4, 5]
    assert list(run.folder.glob("wandb/offline-run-*-default-faq-3f2a9c1b/*.wandb"))


def test_training_ends_with_its_patience_and_goes_on_from_there(run: TrainingRun) -> None:
    run.having({"training.learningRate": 0.1, "training.warmupSteps": 9, "training.select": "best"})
    run.having({"training.validation": {"interval": 1, "patience": 2}}).execute("--validate")
    losses = {int(step["step"]): step["validationLoss"] for step in run.steps}
    best, last = min(losses, key=losses.__getitem__), max(losses)
    assert (last - best, last < 10) == (2, True), losses
    chosen = json.loads((run.folder / "selection.json").read_text())
    assert (chosen["step"], chosen["stoppedEarly"]) == (best, True)
    assert f"stopped at step {last}" in chosen["why"]


def _shared_with(run: TrainingRun, step: int) -> int:
    """How many of the adapter's matrices the checkpoint of `step` holds as they are."""
    adapter = load_file(run.folder / "adapter/adapter_model.safetensors").values()
    files = (run.folder / f"checkpoints/step-{step}").glob("*.safetensors")
    saved = [tensor for file in files for tensor in load_file(file).values()]
    return sum(any(own.shape == other.shape and own.equal(other) for other in saved) for own in adapter)


def _tensorboard_steps(run: TrainingRun) -> list[int]:
    events = EventAccumulator(str(run.folder / "tensorboard"))
    events.Reload()
    return [event.step for event in events.Scalars("train/loss")]
