"""What is trained is the base: compared with transformers' own model, on the base's weights."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from random_base import write_tiny_base
from safetensors.torch import load_file, save_file
from transformers import DeepseekV2Config, DeepseekV2ForCausalLM

from finetune_trainer.base.float8 import quantize
from finetune_trainer.base.tensors import BaseTensors
from finetune_trainer.contract.failure import DataError
from finetune_trainer.prepare.architecture import check_architecture, check_tensors
from finetune_trainer.prepare.parity import compare, compare_with_transformers, weights

TOKENS = len(compare.POSITIONS)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    write_tiny_base(tmp_path)
    return tmp_path


def _as_float8(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    for name in [name for name in tensors if "_proj" in name and ".layers.4." not in name]:
        tensors[name], tensors[f"{name}_scale_inv"] = quantize(tensors[name])
    save_file(tensors, folder / "model.safetensors")


def _plain_rope(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rope_parameters": None}))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda _: None, id="float32"),
        pytest.param(_as_float8, id="FP8"),
        pytest.param(_plain_rope, id="plain rope"),
    ],
)
def test_the_base_is_what_is_trained(base: Path, change: Callable[[Path], None]) -> None:
    change(base)
    report = compare_with_transformers("tiny_lora", base)
    assert report is not None
    assert (report.compared_with, report.layers) == ("DeepseekV3ForCausalLM", 4)
    assert report.greatest_difference < 1e-5


def _attention(**changes: Any) -> Callable[[Any], None]:
    def change(config: Any) -> None:
        for layer in config.layers:
            layer.attention = dataclasses.replace(layer.attention, **changes)

    return change


def _router(**changes: Any) -> Callable[[Any], None]:
    def change(config: Any) -> None:
        for name, value in changes.items():
            setattr(config.layers[2].moe.router, name, value)

    return change


def _rope(**changes: Any) -> Callable[[Any], None]:
    def change(config: Any) -> None:
        for layer in config.layers:
            layer.attention.rope = dataclasses.replace(layer.attention.rope, **changes)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(_rope(scaling="none"), "the states after layer 0 differ", id="plain rope"),
        pytest.param(_rope(theta=20000.0), "the states after layer 0 differ", id="theta"),
        pytest.param(_rope(rope_factor=39.0), "the states after layer 0 differ", id="factor"),
        pytest.param(_attention(mscale=0.9), "the states after layer 0 differ", id="scale of the softmax"),
        pytest.param(_router(route_scale=1.0), "the states after layer 2 differ", id="scale of the experts"),
        pytest.param(_router(route_norm=False), "the states after layer 2 differ", id="sums of weights"),
        pytest.param(_router(score_func="softmax"), "the states after layer 2 differ", id="scores"),
        pytest.param(_router(num_limited_groups=2), "the states after layer 2 differ", id="groups"),
        pytest.param(lambda config: setattr(config.norm, "eps", 0.1), "the logits differ", id="epsilon"),
    ],
)
def test_another_model_is_named_with_its_layer(
    base: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], None], message: str
) -> None:
    ours = compare._our_config

    def changed(flavor: str, folder: Path) -> Any:
        config = ours(flavor, folder)
        change(config)
        return config

    monkeypatch.setattr(compare, "_our_config", changed)
    with pytest.raises(DataError, match=message):
        compare_with_transformers("tiny_lora", base)


def test_only_the_experts_that_tokens_take_are_read(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = weights.read_whole
    monkeypatch.setattr(
        weights, "read_whole", lambda tensors, name: read.append(name) or whole(tensors, name)
    )
    report = compare_with_transformers("tiny_lora", base)
    assert report is not None
    # Three matrices of two experts a token, in three layers, for each of the models.
    assert len([name for name in read if ".experts." in name]) == 3 * 2 * TOKENS * 3 * 2


def test_a_near_tie_of_one_token_is_no_other_model(tmp_path: Path) -> None:
    assert compare._checked("", torch.tensor([1e-7, 0.4, 1e-6, 1e-7]), tmp_path) == pytest.approx(1e-6)
    with pytest.raises(DataError, match=r"by 0\.3 of their size"):
        compare._checked("", torch.tensor([1e-7, 0.4, 0.3, 1e-7]), tmp_path)
    with pytest.raises(DataError, match="by inf"):
        compare._checked("", torch.full((4,), torch.nan), tmp_path)


def test_what_transformers_does_not_know_is_skipped(base: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = json.loads((base / "config.json").read_text()) | {"model_type": "deepseek_v99"}
    (base / "config.json").write_text(json.dumps(config))
    with caplog.at_level("INFO"):
        assert compare_with_transformers("tiny_lora", base) is None
    assert "transformers has no model of type deepseek_v99: not compared with it" in caplog.text


def test_a_config_that_transformers_refuses_is_named(base: Path) -> None:
    config = json.loads((base / "config.json").read_text()) | {"initializer_range": "small"}
    (base / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=r"config.json: transformers does not take it .*initializer_range"):
        compare_with_transformers("tiny_lora", base)


def test_bytes_are_counted(base: Path) -> None:
    tensors = BaseTensors(base)
    assert weights.read_rows(tensors, "lm_head.weight", 0, 10).shape == (10, 256)
    assert tensors.bytes_read == 10 * 256 * 4


def _write_deepseek_v2(folder: Path) -> None:
    """A base of torchtitan's debug model, which routes by softmax and has no low rank of its queries."""
    config = DeepseekV2Config(
        vocab_size=2048,
        hidden_size=256,
        num_hidden_layers=6,
        first_k_dense_replace=1,
        num_attention_heads=16,
        q_lora_rank=None,
        kv_lora_rank=512,
        intermediate_size=1024,
        moe_intermediate_size=256,
        n_routed_experts=8,
        n_shared_experts=2,
        num_experts_per_tok=3,
        max_position_embeddings=163840,
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": 10000.0,
            "factor": 40.0,
            "mscale": 0.707,
            "mscale_all_dim": 0.707,
            "original_max_position_embeddings": 4096,
        },
    )
    torch.manual_seed(0)
    model = DeepseekV2ForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(std=parameter.shape[-1] ** -0.5)
    model.save_pretrained(folder)


def test_deepseek_v2_is_compared_with_its_own_class(tmp_path: Path) -> None:
    _write_deepseek_v2(tmp_path)
    check_architecture("auto", tmp_path)
    check_tensors("auto", tmp_path)
    report = compare_with_transformers("auto", tmp_path)
    assert report is not None
    assert report.compared_with == "DeepseekV2ForCausalLM"
    assert report.greatest_difference < 1e-5
