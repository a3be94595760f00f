"""A run that starts from an adapter computes at first what the adapter on its base does, by PEFT."""

import shutil
from pathlib import Path

import pytest
from peft import PeftModel
from peft_training import packed_loss
from synthetic_data import sequence
from training_run import TrainingRun
from transformers import DeepseekV3ForCausalLM

pytestmark = pytest.mark.chain


# PEFT compares its patterns with target_modules only, and applies them to target_parameters all the same.
@pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys did not match")
def test_the_first_loss_is_the_adapter_s(run: TrainingRun, trained: TrainingRun, tiny_base: Path) -> None:
    shutil.copytree(trained.folder / "adapter", run.root / "adapters/first")
    run.having({"lora.from": {"uri": "adapters/first", "path": "adapters/first", "revision": None}})
    run.having({"training.steps": 3}).execute()
    model = DeepseekV3ForCausalLM.from_pretrained(tiny_base, attn_implementation="sdpa")
    rows = [sequence(index, 64) for index in range(4)]
    untrained = packed_loss(model, rows).item()
    tuned = PeftModel.from_pretrained(model, run.root / "adapters/first")
    assert run.steps[0]["loss"] == pytest.approx(packed_loss(tuned, rows).item(), abs=1e-4)
    assert abs(untrained - run.steps[0]["loss"]) > 0.01
    assert [step["step"] for step in run.steps] == [1, 2, 3]
