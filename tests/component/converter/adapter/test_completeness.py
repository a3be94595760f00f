"""What an adapter promises and lacks: refused, or said, and never merged in silence."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft_adapters import change_tensors, tensors_of, write_adapter
from safetensors.torch import save_file
from small_deepseek import FUSED, load_json, load_model
from verified_merge import merged

from finetune_converter.failure import Failure

BASE_LAYER = "model.layers.1.self_attn.o_proj"


def drop(adapter: Path, part: str) -> None:
    change_tensors(adapter, {name: t for name, t in tensors_of(adapter).items() if part not in name})


@pytest.mark.parametrize(
    ("settings", "lost", "says"),
    [
        pytest.param(
            {"modules_to_save": ["lm_head"]}, "lm_head", "does not hold 'lm_head.weight'", id="a saved module"
        ),
        pytest.param(
            {"modules_to_save": ["q_a_layernorm"]}, "layers.1.self_attn.q_a", "layers.1", id="a saved layer"
        ),
        pytest.param({}, "layers.1.self_attn.o_proj.lora_A", "its lora_A is not there", id="half a pair"),
    ],
)
def test_what_is_promised_and_lost(
    float32: Path, tmp_path: Path, settings: dict[str, Any], lost: str, says: str
) -> None:
    adapter = write_adapter(tmp_path / "adapter", **settings)
    drop(adapter, lost)
    with pytest.raises(Failure, match=says):
        merged(float32, adapter)


def test_a_lost_layer_is_said(float32: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """PEFT loads it with a warning: that layer stays the base's."""
    adapter = write_adapter(
        tmp_path / "adapter", target_modules=["o_proj", "q_b_proj"], target_parameters=FUSED
    )
    drop(adapter, "layers.1.self_attn.o_proj")
    ours = merged(float32, adapter)
    said = "adapts self_attn.o_proj, but holds nothing for model.layers.1.self_attn.o_proj"
    assert said in caplog.text
    assert said in (tmp_path / "merged/README.md").read_text()
    assert caplog.text.count("holds nothing") == 1
    assert torch.equal(ours[f"{BASE_LAYER}.weight"], load_model(float32)[f"{BASE_LAYER}.weight"])


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"target_modules": ["embed_tokens"]}, id="LoRA on embeddings"),
        pytest.param({"target_modules": ["lm_head"]}, id="LoRA on the head"),
        pytest.param({"modules_to_save": ["lm_head"]}, id="a saved head"),
        pytest.param({"modules_to_save": ["embed_tokens"]}, id="saved embeddings"),
    ],
)
def test_tied_weights_are_said(float32: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    adapter = write_adapter(tmp_path / "adapter", **settings)
    tensors = load_model(float32)
    del tensors["lm_head.weight"]
    tied = tmp_path / "tied"
    tied.mkdir()
    save_file(tensors, tied / "model.safetensors")
    config = {**load_json(float32 / "config.json"), "tie_word_embeddings": True}
    (tied / "config.json").write_text(json.dumps(config))
    with pytest.raises(Failure, match="tied"):
        merged(tied, adapter)


@pytest.mark.parametrize("name", ["lm_head", "model.embed_tokens"])
def test_a_resized_vocabulary_is_said(float32: Path, tmp_path: Path, name: str) -> None:
    adapter = write_adapter(tmp_path / "adapter", modules_to_save=[name])
    tensors = tensors_of(adapter)
    key = f"base_model.model.{name}.weight"
    change_tensors(adapter, {**tensors, key: torch.cat([tensors[key], tensors[key][:2]])})
    tokens = [{"id": 63, "content": "old"}, {"id": 65, "content": "<|b|>"}, {"id": 64, "content": "<|a|>"}]
    (adapter / "tokenizer.json").write_text(json.dumps({"added_tokens": tokens}))
    with pytest.raises(Failure, match=r"66 tokens, the base's .* of 64; .* adds '<\|a\|>', '<\|b\|>'"):
        merged(float32, adapter)
