"""A deep model, where rounding sends tokens to experts that are nearly as good: no error of a merge."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from small_deepseek import ATTENTION, small_model
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

from finetune_converter.failure import Failure
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.verify.stage import verify_folders


def deep_model() -> DeepseekV3ForCausalLM:
    torch.manual_seed(0)
    fields = small_model().config.to_dict() | {
        "num_hidden_layers": 16,
        "n_routed_experts": 32,
        "num_experts_per_tok": 4,
        "n_group": 1,
        "initializer_range": 0.1,
    }
    return DeepseekV3ForCausalLM(DeepseekV3Config(**fields)).to(torch.bfloat16)


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """The base, an adapter of its attention, and the two merged."""
    base, adapter, merged = (tmp_path / name for name in ("base", "adapter", "merged"))
    model = deep_model()
    model.save_pretrained(base)
    peft = get_peft_model(model.float(), LoraConfig(r=4, lora_alpha=8, target_modules=ATTENTION))
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    peft.save_pretrained(adapter)
    merge_folders(base=base, adapter=adapter, out=merged, dtype=Dtype.BASE, workers=1)
    return {"base": base, "adapter": adapter, "merged": merged}


def test_a_right_merge_passes(folders: dict[str, Path]) -> None:
    """With each model's own choice of experts the logits are 0.11 of their size apart; 0.04 is allowed."""
    verify_folders(**folders, dtype="base")


def test_another_choice_of_experts_does_not(folders: dict[str, Path]) -> None:
    (file,) = folders["merged"].glob("*.safetensors")
    tensors = load_file(file)
    name = "model.layers.3.mlp.gate.weight"
    tensors[name] = tensors[name].flip(0)
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(Failure):
        verify_folders(**folders, dtype="base")
