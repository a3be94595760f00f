"""`base_layer.weight`: an adapter that brings the weight below it, as PEFT saves embeddings and head."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft_adapters import change_tensors, merged_by_peft, tensors_of, write_adapter
from small_deepseek import load_model
from verified_merge import merged

from finetune_converter.failure import Failure

PREFIX = "base_model.model."
O_PROJ = "model.layers.1.self_attn.o_proj"


@pytest.mark.parametrize("changed", [False, True], ids=["the base's", "another than the base's"])
@pytest.mark.parametrize(
    ("settings", "modules"),
    [
        pytest.param({"target_modules": ["embed_tokens"]}, ["model.embed_tokens"], id="embeddings"),
        pytest.param({"target_modules": ["lm_head"]}, ["lm_head"], id="head"),
        pytest.param(
            {"target_modules": ["embed_tokens", "lm_head", "o_proj"]},
            ["model.embed_tokens", "lm_head"],
            id="both and linear layers",
        ),
        pytest.param({"target_modules": ["o_proj"]}, [O_PROJ], id="a linear layer"),
        pytest.param(
            {"target_modules": ["o_proj"], "rank_pattern": {"o_proj": 8}, "use_rslora": True},
            [O_PROJ],
            id="a linear layer of another rank",
        ),
    ],
)
def test_merged_as_peft_merges(
    float32: Path, tmp_path: Path, settings: dict[str, Any], modules: list[str], changed: bool
) -> None:
    adapter = write_adapter(tmp_path / "adapter", **settings)
    base = load_model(float32)
    below = {
        f"{PREFIX}{module}.base_layer.weight": base[f"{module}.weight"] * (1.25 if changed else 1)
        for module in modules
    }
    change_tensors(adapter, {**tensors_of(adapter), **below})
    ours, theirs = merged(float32, adapter), merged_by_peft(adapter, tmp_path / "peft")
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-5, atol=1e-6, msg=name)


def test_saved_by_peft(float32: Path, tmp_path: Path) -> None:
    """As PEFT writes it itself: save_embedding_layers."""
    adapter = write_adapter(tmp_path / "adapter", target_modules=["embed_tokens", "lm_head"])
    names = [name for name in tensors_of(adapter) if "base_layer" in name]
    assert names == [f"{PREFIX}lm_head.base_layer.weight", f"{PREFIX}model.embed_tokens.base_layer.weight"]
    ours, theirs = merged(float32, adapter), merged_by_peft(adapter, tmp_path / "peft")
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    ("key", "shape", "says"),
    [
        pytest.param(f"{O_PROJ}.base_layer.weight", (128, 16), r"is \[128, 16\]", id="another shape"),
        pytest.param(
            "model.layers.7.self_attn.o_proj.base_layer.weight", (128, 32), "the base has no", id="no layer"
        ),
        pytest.param(
            "model.embed_tokens.base_layer.weight",
            (66, 128),
            "vocabulary of 66 tokens",
            id="a resized vocabulary",
        ),
        pytest.param(
            "model.layers.1.self_attn.q_b_proj.base_layer.weight",
            (64, 32),
            "does not adapt .*q_b_proj",
            id="of no adapter",
        ),
    ],
)
def test_refused(float32: Path, tmp_path: Path, key: str, shape: tuple[int, int], says: str) -> None:
    adapter = write_adapter(tmp_path / "adapter", target_modules=["o_proj", "embed_tokens"])
    change_tensors(adapter, {**tensors_of(adapter), f"{PREFIX}{key}": torch.ones(shape)})
    with pytest.raises(Failure, match=says):
        merged(float32, adapter)
