"""The shape of every published config.json, and what no model can be."""

import json
from pathlib import Path
from typing import Any

import pytest
from published_configs import NAMES, published_config
from torchtitan.models.common.attention import FlexAttention

from finetune_trainer.base.families import FAMILIES, REFUSED
from finetune_trainer.base.hf_config import shape_of_base
from finetune_trainer.contract.failure import DataError
from finetune_trainer.model.build import shape_of
from finetune_trainer.model.flash import FlashAttention
from finetune_trainer.model.flavors import FLAVORS, build_model_config

V3 = published_config("deepseek-ai--DeepSeek-V3")
V2 = published_config("deepseek-ai--DeepSeek-V2")
GLM = published_config("zai-org--GLM-4.7-Flash")
# As Kimi-K2-Thinking is published: its routed experts in INT4, groups of 32.
INT4 = {"quantization_config": {"quant_method": "compressed-tensors", "format": "pack-quantized"}}
OF_V3 = ("deepseek-ai--DeepSeek-V3", "deepseek-ai--DeepSeek-R1", "deepseek-ai--DeepSeek-V3.1")


def write(folder: Path, config: dict[str, Any]) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_published_model_is_built_of_its_config(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path, published_config(name))
    shape = shape_of_base(folder)
    assert shape_of(build_model_config("auto", device="cuda", base=folder)) == shape
    assert (shape == FLAVORS["671B_lora"].shape) is (name in OF_V3)
    assert (shape == FLAVORS["16B_lora"].shape) is (name == "deepseek-ai--DeepSeek-V2-Lite")


def test_every_published_config_is_of_a_repository_that_a_family_names() -> None:
    named = {name for family in FAMILIES.values() for model in family.models for name in model.repositories}
    assert {name.replace("--", "/") for name in NAMES} <= named


@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param(V3 | {"n_routed_experts": 255}, "n_group, 8, does not divide", id="experts of a group"),
        pytest.param(V3 | {"topk_group": 9}, "topk_group is 9, n_group only 8", id="more groups"),
        pytest.param(V3 | {"n_group": 256}, "n_group is 256: a group is scored by its two", id="one expert"),
        pytest.param(V3 | {"num_experts_per_tok": 129}, "more than the 128 experts", id="too many"),
        pytest.param(V3 | {"first_k_dense_replace": 61}, "none of the 61 layers has experts", id="all dense"),
        pytest.param(V3 | {"n_shared_experts": 0}, "n_shared_experts is 0, which is no", id="none shared"),
        pytest.param(V3 | {"q_lora_rank": 0}, "q_lora_rank is 0, which is no whole", id="a rank of 0"),
        pytest.param(V3 | {"hidden_size": 7168.0}, "hidden_size is 7168.0, which is no whole", id="a float"),
        pytest.param(V3 | {"rms_norm_eps": "1e-6"}, "rms_norm_eps is '1e-6', which is no number", id="text"),
        pytest.param(V3 | {"norm_topk_prob": 1}, "norm_topk_prob is 1, which is no true", id="1 for true"),
        pytest.param(V3 | {"qk_rope_head_dim": 63}, "qk_rope_head_dim is 63: pairs", id="an odd rope"),
        pytest.param(V2 | {"norm_topk_prob": True}, "norm_topk_prob is True, only False", id="V2's sums"),
        pytest.param(V2 | {"topk_method": "greedy"}, "computes? a greedy router", id="greedy groups"),
        pytest.param(V2 | {"topk_method": "noaux_tc"}, "topk_method is 'noaux_tc', a deepseek_v2", id="bias"),
        pytest.param(GLM | {"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5", id="half turned"),
        pytest.param(GLM | {"first_k_dense_replace": 2}, "takes 1", id="dense layers without a list"),
        pytest.param(GLM | {"mlp_layer_types": ["sparse"] * 47}, "mlp_layer_types is not", id="a list apart"),
        pytest.param(
            {name: value for name, value in V2.items() if name != "num_experts_per_tok"},
            "num_experts_per_tok is None",
            id="without a default",
        ),
    ],
)
def test_what_no_model_is_made_of_is_refused(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        shape_of_base(write(tmp_path, config))


def test_a_list_of_layers_says_what_the_number_says(tmp_path: Path) -> None:
    listed = GLM | {"mlp_layer_types": ["dense"] * 2 + ["sparse"] * 45, "first_k_dense_replace": 2}
    assert shape_of_base(write(tmp_path, listed)).first_k_dense_replace == 2


@pytest.mark.parametrize("model_type", REFUSED)
def test_a_model_that_is_not_trained_is_refused_by_name(tmp_path: Path, model_type: str) -> None:
    model = REFUSED[model_type]
    with pytest.raises(DataError) as refused:
        shape_of_base(write(tmp_path, V3 | {"model_type": model_type}))
    said = f"model_type is {model_type!r}, which is not trained here. {model.name}: {model.reason}"
    assert f"config.json: {said}. {model.remedy}." in str(refused.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param({"model_type": "deepseek_v32"}, "an indexer picks", id="DeepSeek-V3.2"),
        pytest.param({"model_type": "glm_moe_dsa"}, "an indexer picks", id="GLM-5"),
        pytest.param({"model_type": "deepseek_v4"}, "compresses keys and values", id="DeepSeek-V4"),
        pytest.param({"model_type": "kimi_linear"}, "linear attention", id="Kimi-Linear"),
        pytest.param({"model_type": "longcat_flash"}, "two attentions a layer", id="LongCat"),
        pytest.param({"model_type": "kimi_k2", **INT4}, r"compressed-tensors \(pack-quantized\)", id="INT4"),
        pytest.param({"model_type": "llama"}, "Llama: its attention is not latent", id="Llama"),
        pytest.param({"model_type": "mixtral"}, "Mixtral: its attention is not latent", id="Mixtral"),
        pytest.param({"model_type": "qwen3_moe"}, "Qwen3-MoE: its attention is not latent", id="Qwen3-MoE"),
        pytest.param(
            {"model_type": "falcon", "kv_lora_rank": None}, "'falcon', another .* not latent", id="unknown"
        ),
        pytest.param({"model_type": "acme"}, "'acme', another model than is trained here[.]", id="latent"),
        pytest.param({"model_type": ["deepseek_v3"]}, "which is no name", id="a list"),
    ],
)
def test_a_refusal_names_the_reason(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        shape_of_base(write(tmp_path, V3 | config))


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        pytest.param("deepseek-ai--DeepSeek-V3", FlashAttention, id="heads of 192 and 128"),
        pytest.param("zai-org--GLM-4.7-Flash", FlexAttention, id="heads of 256"),
    ],
)
def test_heads_that_flash_attention_was_not_tried_with_take_flex(
    tmp_path: Path, name: str, kernel: type[Any]
) -> None:
    folder = write(tmp_path, published_config(name))
    model = build_model_config("auto", device="cuda", attention="flash", base=folder)
    assert {type(layer.attention.inner_attention) for layer in model.layers} == {kernel.Config}
