"""What training leaves: a base that did not change, and an adapter that means the same elsewhere."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from synthetic_data import sequence
from training_run import TrainingRun
from transformers import DeepseekV3ForCausalLM

pytestmark = pytest.mark.chain

PREFIX = "base_model.model."


def test_no_frozen_tensor_changes(trained: TrainingRun, tiny_base: Path) -> None:
    base = load_file(tiny_base / "model.safetensors")
    after = {name: tensor for name, tensor in trained.dump.items() if name != "logits"}
    assert set(after) == {name for name in base if ".layers.4." not in name}
    changed = [name for name, tensor in after.items() if not torch.equal(tensor, base[name])]
    assert changed == []
    assert any("e_score_correction_bias" in name for name in after)


# PEFT compares its patterns with target_modules only, and applies them to target_parameters all the same.
@pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys did not match")
def test_peft_and_transformers_compute_the_trained_logits(trained: TrainingRun, tiny_base: Path) -> None:
    model = DeepseekV3ForCausalLM.from_pretrained(tiny_base, dtype=torch.float32, attn_implementation="eager")
    untrained = _logits(model)
    tuned = PeftModel.from_pretrained(model, trained.folder / "adapter")
    torch.testing.assert_close(_logits(tuned), trained.dump["logits"], atol=1e-4, rtol=0)
    assert (untrained - trained.dump["logits"]).abs().max() > 0.1, "the adapter does nothing"


@pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys did not match")
def test_samples_are_what_peft_and_transformers_answer(trained: TrainingRun, tiny_base: Path) -> None:
    lines = [json.loads(line) for line in (trained.folder / "metrics.jsonl").read_text().splitlines()]
    rounds = {line["step"]: line["samples"] for line in lines if "samples" in line}
    assert list(rounds) == [0, 10]
    model = DeepseekV3ForCausalLM.from_pretrained(tiny_base, dtype=torch.float32, attn_implementation="eager")
    before = [_answer(model, sample["prompt"]) for sample in rounds[0]]
    tuned = PeftModel.from_pretrained(model, trained.folder / "adapter")
    after = [_answer(tuned, sample["prompt"]) for sample in rounds[10]]
    assert before != after
    assert [[sample["text"] for sample in samples] for samples in rounds.values()] == [before, after]
    assert {sample["end"] for samples in rounds.values() for sample in samples} == {"length"}


def test_adapter_has_every_target_by_its_name_in_the_base(trained: TrainingRun, tiny_base: Path) -> None:
    adapter = load_file(trained.folder / "adapter/adapter_model.safetensors")
    base = load_file(tiny_base / "model.safetensors")
    for name, tensor in base.items():
        adapted = "proj" in name and ".layers.4." not in name
        module = name.removesuffix(".weight")
        if adapted:
            assert adapter[f"{PREFIX}{module}.lora_A.weight"].shape == (16, tensor.shape[1]), name
            assert adapter[f"{PREFIX}{module}.lora_B.weight"].shape == (tensor.shape[0], 16), name
        else:
            assert f"{PREFIX}{module}.lora_A.weight" not in adapter


def test_adapter_config_is_peft_s(trained: TrainingRun) -> None:
    config = json.loads((trained.folder / "adapter/adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert config["task_type"] == "CAUSAL_LM"
    assert (config["r"], config["lora_alpha"], config["bias"]) == (16, 32.0, "none")
    assert config["base_model_name_or_path"] == "models/tiny-base"


def test_each_checkpoint_holds_its_adapter(trained: TrainingRun) -> None:
    """Not in what a resume compares: the checksums are those of the training alone."""
    assert trained.checkpoints == ["step-10", "step-6", "step-8"]
    folders = [trained.folder / "checkpoints" / step / "adapter" for step in ("step-8", "step-10")]
    before, last = ({file.name: file.read_bytes() for file in folder.iterdir()} for folder in folders)
    assert last == {file.name: file.read_bytes() for file in (trained.folder / "adapter").iterdir()}
    assert {name for name in last if last[name] != before[name]} == {"adapter_model.safetensors"}


@torch.no_grad()
def _logits(model: torch.nn.Module) -> torch.Tensor:
    tokens, _, _ = sequence(0, 64)
    logits: torch.Tensor = model.eval()(tokens.unsqueeze(0)).logits
    return logits


@torch.no_grad()
def _answer(model: torch.nn.Module, prompt: str) -> str:
    """Six tokens, greedily, after the tokenizer's beginning of sequence, t0; a token is a word."""
    words = ["t0", *prompt.split()]
    for _ in range(6):
        tokens = torch.tensor([[int(word.removeprefix("t")) for word in words]])
        words.append(f"t{int(model.eval()(tokens).logits[0, -1].argmax())}")
    return " ".join(words[-6:])
