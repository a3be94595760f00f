"""Every field of config.json that changes the computation is used, must be the flavour's, or is refused."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.base.hf_config import check_hf_config
from finetune_trainer.base.rope import Rope, Yarn, read_rope
from finetune_trainer.contract.failure import DataError
from finetune_trainer.model.flavors import FLAVORS

YARN: dict[str, Any] = {
    "beta_fast": 32,
    "beta_slow": 1,
    "factor": 40,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "original_max_position_embeddings": 4096,
    "type": "yarn",
}
# As deepseek-ai publishes them.
DEEPSEEK_V3: dict[str, Any] = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"},
    "aux_loss_alpha": 0.001,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "ep_size": 1,
    "first_k_dense_replace": 3,
    "hidden_act": "silu",
    "hidden_size": 7168,
    "initializer_range": 0.02,
    "intermediate_size": 18432,
    "kv_lora_rank": 512,
    "max_position_embeddings": 163840,
    "model_type": "deepseek_v3",
    "moe_intermediate_size": 2048,
    "moe_layer_freq": 1,
    "n_group": 8,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_attention_heads": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 61,
    "num_key_value_heads": 128,
    "num_nextn_predict_layers": 1,
    "pretraining_tp": 1,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "quantization_config": {
        "activation_scheme": "dynamic",
        "fmt": "e4m3",
        "quant_method": "fp8",
        "weight_block_size": [128, 128],
    },
    "rms_norm_eps": 1e-06,
    "rope_scaling": YARN,
    "rope_theta": 10000,
    "routed_scaling_factor": 2.5,
    "scoring_func": "sigmoid",
    "seq_aux": True,
    "tie_word_embeddings": False,
    "topk_group": 4,
    "topk_method": "noaux_tc",
    "torch_dtype": "bfloat16",
    "transformers_version": "4.33.1",
    "use_cache": True,
    "v_head_dim": 128,
    "vocab_size": 129280,
}
DEEPSEEK_V2_LITE = DEEPSEEK_V3 | {
    "architectures": ["DeepseekV2ForCausalLM"],
    "first_k_dense_replace": 1,
    "hidden_size": 2048,
    "intermediate_size": 10944,
    "model_type": "deepseek_v2",
    "moe_intermediate_size": 1408,
    "n_group": 1,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "norm_topk_prob": False,
    "num_attention_heads": 16,
    "num_experts_per_tok": 6,
    "num_hidden_layers": 27,
    "num_key_value_heads": 16,
    "q_lora_rank": None,
    "quantization_config": None,
    "rope_scaling": YARN | {"mscale": 0.707, "mscale_all_dim": 0.707},
    "routed_scaling_factor": 1.0,
    "scoring_func": "softmax",
    "topk_group": 1,
    "topk_method": "greedy",
    "vocab_size": 102400,
}


def _check(folder: Path, config: Any, flavor: str = "671B_lora") -> None:
    (folder / "config.json").write_text(json.dumps(config))
    check_hf_config(FLAVORS[flavor].shape, folder)


@pytest.mark.parametrize(
    ("flavor", "config"),
    [
        pytest.param("671B_lora", DEEPSEEK_V3, id="DeepSeek-V3"),
        pytest.param("16B_lora", DEEPSEEK_V2_LITE, id="DeepSeek-V2-Lite"),
        pytest.param(
            "671B_lora",
            {
                name: DEEPSEEK_V3[name]
                for name in ("model_type", "rope_scaling", "scoring_func", "topk_method")
            },
            id="transformers has a default for the rest",
        ),
        pytest.param(
            "671B_lora",
            DEEPSEEK_V3
            | {"rope_scaling": None, "rope_parameters": YARN | {"rope_theta": 10000.0, "rope_type": "yarn"}}
            | {
                "head_dim": 64,
                "qk_head_dim": 192,
                "rope_interleave": True,
                "sliding_window": None,
                "dtype": "x",
            },
            id="saved by transformers 5",
        ),
    ],
)
def test_published_config_fits(tmp_path: Path, flavor: str, config: dict[str, Any]) -> None:
    _check(tmp_path, config, flavor)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"topk_group": 2}, "topk_group is 2, the flavor needs 4", id="routing"),
        pytest.param({"rms_norm_eps": 1e-5}, "rms_norm_eps is 1e-05", id="epsilon"),
        pytest.param({"norm_topk_prob": False}, "norm_topk_prob is False", id="normalised weights"),
        pytest.param({"routed_scaling_factor": 1.0}, "routed_scaling_factor is 1.0", id="scaling"),
        pytest.param({"scoring_func": "softmax"}, "scoring_func is 'softmax'", id="scoring"),
        pytest.param({"topk_method": "greedy"}, "topk_method is 'greedy'", id="method"),
        pytest.param({"n_shared_experts": 2}, "n_shared_experts is 2", id="shared experts"),
        pytest.param({"num_key_value_heads": 8}, "num_key_value_heads is 8, only 128", id="grouped heads"),
        pytest.param({"v_head_dim": 64}, "v_head_dim is 64", id="head size"),
        pytest.param({"head_dim": 128}, "head_dim is 128, only 64 is computed", id="rope's size"),
        pytest.param({"num_hidden_layers": "61"}, "num_hidden_layers is '61'", id="a string"),
        pytest.param({"scoring_func": None}, "scoring_func is missing, without which vLLM", id="no scoring"),
        pytest.param({"model_type": "llama"}, "Llama: its attention is not latent", id="llama"),
        pytest.param({"model_type": "deepseek_v32"}, "DeepSeek-V3.2: its attention reads", id="deepseek_v32"),
        pytest.param({"model_type": None}, "model_type is missing", id="no type"),
        pytest.param({"model_type": "deepseek_v2"}, "architectures is .* of deepseek_v2 is", id="two types"),
        pytest.param({"architectures": ["DeepseekV3ForCausalLMNextN"]}, "architectures is", id="MTP alone"),
        pytest.param({"attention_bias": True}, "attention_bias is True, only False", id="biases"),
        pytest.param({"tie_word_embeddings": True}, "tie_word_embeddings is True", id="tied"),
        pytest.param({"hidden_act": "gelu"}, "hidden_act is 'gelu', only 'silu'", id="activation"),
        pytest.param({"moe_layer_freq": 2}, "moe_layer_freq is 2", id="every other layer"),
        pytest.param({"rope_interleave": False}, "rope_interleave is False", id="halves"),
        pytest.param({"index_topk": 2048}, "index_topk is 2048, which no deepseek_v3", id="indexer"),
        pytest.param({"sliding_window": 4096}, "sliding_window is 4096", id="window"),
        pytest.param({"use_qk_norm": True}, "use_qk_norm is True", id="norms of queries and keys"),
        pytest.param({"final_logit_softcapping": 30.0}, "final_logit_softcapping", id="soft cap"),
        pytest.param({"residual_multiplier": 0.2}, "residual_multiplier", id="residual"),
        pytest.param({"layer_types": ["full"]}, "layer_types", id="kinds of layers"),
    ],
)
def test_other_model_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        _check(tmp_path, DEEPSEEK_V3 | change)


@pytest.mark.parametrize(
    ("quantization", "message"),
    [
        pytest.param({"quant_method": "awq", "bits": 4}, r"the weights are AWQ \(4\)", id="AWQ"),
        pytest.param({"quant_method": "gptq", "bits": 4}, r"the weights are GPTQ \(4\)", id="GPTQ"),
        pytest.param({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "NVFP4", id="NVFP4"),
        pytest.param(
            {"quant_method": "compressed-tensors", "format": "pack-quantized"},
            r"compressed-tensors \(pack-quantized\)",
            id="compressed-tensors",
        ),
        pytest.param({"quant_method": "bitsandbytes"}, "bitsandbytes", id="bitsandbytes"),
        pytest.param({"quant_method": "new"}, "quantised by 'new'", id="unknown"),
        pytest.param({"quant_method": "fp8"}, "weight_block_size: is None", id="FP8 a tensor"),
        pytest.param(
            {"quant_method": "fp8", "weight_block_size": [64, 64]}, r"is \[64, 64\]", id="other blocks"
        ),
        pytest.param(
            {"quant_method": "fp8", "weight_block_size": [128, 128], "fmt": "e5m2"}, "e5m2", id="e5m2"
        ),
        pytest.param("awq", "is 'awq', which is no object", id="a string"),
    ],
)
def test_quantisation_is_named_with_what_to_convert_to(
    tmp_path: Path, quantization: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        _check(tmp_path, DEEPSEEK_V3 | {"quantization_config": quantization})
    assert "bfloat16, or in DeepSeek's own FP8" in caught.value.remedy


def test_a_field_without_a_part_in_the_computation_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        _check(tmp_path, DEEPSEEK_V3 | {"license_link": "https://example.com"})
    assert "nothing here reads license_link" in caplog.text


@pytest.mark.parametrize(
    ("fields", "rope"),
    [
        pytest.param({}, Rope(theta=10000.0), id="absent"),
        pytest.param({"rope_scaling": None, "rope_theta": 5e5}, Rope(theta=5e5), id="null"),
        pytest.param({"rope_parameters": {"rope_theta": 2e4}}, Rope(theta=2e4), id="theta inside"),
        pytest.param(
            {"rope_theta": 1e4, "rope_parameters": {"rope_theta": 2e4, "rope_type": "default"}},
            Rope(theta=2e4),
            id="theta inside goes before",
        ),
        pytest.param({"rope_scaling": YARN | {"type": "default"}}, Rope(theta=1e4), id="default"),
        pytest.param(
            {"rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 4096}},
            Rope(
                theta=1e4,
                yarn=Yarn(
                    factor=4, original_length=4096, beta_fast=32, beta_slow=1, mscale=1, mscale_all_dim=0
                ),
            ),
            id="yarn of defaults",
        ),
    ],
)
def test_rope_is_read_in_every_spelling(fields: dict[str, Any], rope: Rope) -> None:
    assert read_rope(fields, Path("config.json")) == rope


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"rope_scaling": {"type": "linear", "factor": 2}}, "rope_type is 'linear'", id="linear"),
        pytest.param({"rope_scaling": {"type": "dynamic", "factor": 2}}, "is 'dynamic'", id="dynamic"),
        pytest.param({"rope_parameters": {"rope_type": "longrope"}}, "is 'longrope'", id="longrope"),
        pytest.param({"rope_scaling": {"factor": 40}}, "rope_scaling has no type", id="no type"),
        pytest.param({"rope_scaling": YARN | {"rope_type": "default"}}, "both type", id="two types"),
        pytest.param({"rope_scaling": YARN | {"mscale": None}}, "mscale_all_dim alone", id="one scale"),
        pytest.param({"rope_scaling": YARN | {"mscale": 0}}, "mscale is 0, which is no number", id="scale 0"),
        pytest.param({"rope_scaling": YARN | {"factor": None}}, "factor is missing", id="no factor"),
        pytest.param({"rope_scaling": YARN | {"factor": 0.5}}, "less than 1", id="factor below 1"),
        pytest.param({"rope_scaling": YARN | {"factor": "40"}}, "'40', which is no number", id="a string"),
        pytest.param({"rope_scaling": YARN | {"attention_factor": 1.0}}, "attention_factor", id="factor"),
        pytest.param({"rope_scaling": YARN | {"truncate": False}}, "truncate is False", id="truncate"),
        pytest.param({"rope_scaling": YARN | {"short_factor": [1]}}, "short_factor", id="another key"),
        pytest.param({"rope_scaling": "yarn"}, "'yarn', which is no object", id="no object"),
        pytest.param({"rope_theta": None}, "rope_theta is None, which is no number", id="theta null"),
        pytest.param(
            {"rope_parameters": {"rope_theta": None, "rope_type": "default"}}, "None", id="null inside"
        ),
        pytest.param({"rope_scaling": YARN | {"truncate": None}}, "truncate is None", id="truncate null"),
        pytest.param({"rope_theta": "1e4"}, "rope_theta is '1e4'", id="theta a string"),
        pytest.param(
            {"rope_scaling": YARN, "rope_parameters": YARN | {"factor": 4}}, "contradict", id="two ropes"
        ),
    ],
)
def test_rope_that_is_not_computed_exactly_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_rope(fields, Path("config.json"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("{", "config.json: cannot be read", id="no JSON"),
        pytest.param("[]", "config.json is no JSON object", id="a list"),
        pytest.param("<!DOCTYPE html><html>", "is an HTML page", id="HTML"),
        pytest.param("version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer", id="LFS"),
    ],
)
def test_config_that_is_no_json(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(DataError, match=message):
        check_hf_config(FLAVORS["tiny_lora"].shape, tmp_path)
