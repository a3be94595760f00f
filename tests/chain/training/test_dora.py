"""DoRA on two processes trains as PEFT does on one, and is merged to what was trained."""

from pathlib import Path

import pytest
from peft_training import TRAINER_SETTINGS, peft_losses, synthetic_rows
from training_run import TrainingRun

from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.verify.stage import verify_folders

pytestmark = pytest.mark.chain

STEPS = 5


def test_losses_are_peft_s_and_the_merge_passes_the_gate(
    run: TrainingRun, tiny_base: Path, tmp_path: Path
) -> None:
    run.having({**TRAINER_SETTINGS, "training.steps": STEPS, "lora.dora": True})
    run.having({"workers.processesPerNode": 2}).execute()
    expected = peft_losses(tiny_base, synthetic_rows(STEPS), dora=True)
    assert [step["loss"] for step in run.steps] == pytest.approx(expected, abs=1e-4)
    folders = {"base": tiny_base, "adapter": run.folder / "adapter"}
    merge_folders(**folders, out=tmp_path / "merged", dtype=Dtype.BASE, workers=1)
    verify_folders(**folders, merged=tmp_path / "merged", dtype=Dtype.BASE)
