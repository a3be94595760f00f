"""The trainer's own loop trains as transformers + PEFT do."""

from pathlib import Path

import pytest
from peft_training import TRAINER_SETTINGS, peft_losses, synthetic_rows
from training_run import TrainingRun

pytestmark = pytest.mark.chain


def test_the_first_losses_are_those_of_peft(run: TrainingRun, tiny_base: Path) -> None:
    run.having({**TRAINER_SETTINGS, "training.steps": 5}).execute()
    expected = peft_losses(tiny_base, synthetic_rows(5))
    assert [step["loss"] for step in run.steps] == pytest.approx(expected, abs=1e-4)
