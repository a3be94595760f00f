"""Random bases of every family, small, written by transformers as the hub's checkpoints are."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

YARN = {
    "type": "yarn",
    "factor": 40,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "original_max_position_embeddings": 4096,
}
# What the published models of a family have in common, at a small size.
_SMALL: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "moe_intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "num_experts_per_tok": 3,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
    "norm_topk_prob": True,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
_V3 = _SMALL | {
    "model_type": "deepseek_v3",
    "architectures": ["DeepseekV3ForCausalLM"],
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
}
_V2 = _SMALL | {
    "model_type": "deepseek_v2",
    "architectures": ["DeepseekV2ForCausalLM"],
    "scoring_func": "softmax",
    "topk_method": "greedy",
    "norm_topk_prob": False,
    "n_shared_experts": 2,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "DeepSeek-V3": _V3
    | {"q_lora_rank": 24, "n_group": 4, "topk_group": 2, "routed_scaling_factor": 2.5, "rope_scaling": YARN},
    "DeepSeek-V2-Lite": _V2
    | {
        "q_lora_rank": None,
        "routed_scaling_factor": 1.0,
        "rope_scaling": YARN | {"mscale": 0.707, "mscale_all_dim": 0.707},
    },
    "DeepSeek-V2": _V2
    | {
        "q_lora_rank": 24,
        "topk_method": "group_limited_greedy",
        "n_group": 4,
        "topk_group": 2,
        "routed_scaling_factor": 16.0,
        "rope_scaling": YARN,
    },
    "Moonlight": _V3
    | {
        "q_lora_rank": None,
        "n_shared_experts": 2,
        "routed_scaling_factor": 2.446,
        "rms_norm_eps": 1e-5,
        "rope_theta": 50000.0,
    },
    "Kimi-K2": _V3
    | {
        "model_type": "kimi_k2",
        "q_lora_rank": 24,
        "n_routed_experts": 12,
        "routed_scaling_factor": 2.827,
        "rope_theta": 50000.0,
        "rope_scaling": YARN | {"factor": 32.0, "beta_fast": 1.0, "beta_slow": 1.0},
    },
    "GLM-4.7-Flash": _SMALL
    | {
        "model_type": "glm4_moe_lite",
        "architectures": ["Glm4MoeLiteForCausalLM"],
        "q_lora_rank": 24,
        "qk_nope_head_dim": 24,
        "v_head_dim": 32,
        "topk_method": "noaux_tc",
        "partial_rotary_factor": 1.0,
        "routed_scaling_factor": 1.8,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1000000.0,
    },
    "GigaChat3": _V3
    | {"q_lora_rank": None, "v_head_dim": 24, "routed_scaling_factor": 1.0, "rope_scaling": YARN},
}
_TRANSFORMERS_TYPES = {"kimi_k2": "deepseek_v3"}


@dataclass(kw_only=True)
class RandomBase:
    """A folder, and transformers' model of what is in it."""

    folder: Path
    config: dict[str, Any]
    model: PreTrainedModel = field(repr=False)


def write_random_base(
    folder: Path, config: dict[str, Any], *, prediction_layers: int = 0, seed: int = 0
) -> RandomBase:
    """Write config.json and safetensors, with layers for multi-token prediction after the last one."""
    model = random_model(config, seed)
    model.save_pretrained(folder)
    config = config | {"num_nextn_predict_layers": prediction_layers}
    (folder / "config.json").write_text(json.dumps(config))
    if prediction_layers:
        weights = folder / "model.safetensors"
        extra = dict(_prediction_tensors(config))
        save_file(load_file(weights) | extra, weights, metadata={"format": "pt"})
    return RandomBase(folder=folder, config=config, model=model)


def random_model(config: dict[str, Any], seed: int = 0) -> PreTrainedModel:
    """transformers' model in float32, with weights large enough that every part shows in the logits."""
    model_type = config["model_type"]
    kind = CONFIG_MAPPING[_TRANSFORMERS_TYPES.get(model_type, model_type)]
    torch.manual_seed(seed)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(
        kind(**{name: _copied(value) for name, value in config.items() if name != "model_type"}),
        attn_implementation="eager",
        experts_implementation="eager",
    ).float()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
            elif "embed_tokens" in name:
                parameter.normal_()
            else:
                parameter.normal_(std=parameter.shape[-1] ** -0.5)
        for name, buffer in model.named_buffers():
            if "e_score_correction_bias" in name:
                buffer.uniform_(-0.2, 0.2)
    return model.eval()


def _copied(value: Any) -> Any:
    """transformers changes the dictionaries that it is given."""
    return dict(value) if isinstance(value, dict) else value


def _prediction_tensors(config: dict[str, Any]) -> Any:
    width = config["hidden_size"]
    shapes = {
        "enorm": (width,),
        "hnorm": (width,),
        "shared_head.norm": (width,),
        "eh_proj": (width, 2 * width),
    }
    for index in range(config["num_nextn_predict_layers"]):
        prefix = f"model.layers.{config['num_hidden_layers'] + index}"
        for part, shape in shapes.items():
            yield f"{prefix}.{part}.weight", torch.full(shape, 0.5)
