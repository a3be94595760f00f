"""A DeepSeek-V3 of any depth whose only large matrices are o_proj, for tests of the merge's machinery."""

from typing import Any

import torch

from finetune_converter.merge.architecture import promised_tensors

NARROW = 8


def bare_config(*, layers: int, hidden: int) -> dict[str, Any]:
    """config.json: dense layers, o_proj of [hidden, hidden] and nothing else of that size."""
    return {
        "model_type": "deepseek_v3",
        "dtype": "bfloat16",
        "num_hidden_layers": layers,
        "first_k_dense_replace": layers,
        "hidden_size": hidden,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "v_head_dim": hidden,
        "n_routed_experts": 8,
        "n_group": 8,
        "topk_group": 8,
        **dict.fromkeys(
            ("vocab_size", "intermediate_size", "q_lora_rank", "kv_lora_rank", "qk_nope_head_dim"), NARROW
        ),
        "qk_rope_head_dim": NARROW,
    }


def bare_tensors(config: dict[str, Any]) -> dict[str, torch.Tensor]:
    """All of its tensors but o_proj, all ones, in bfloat16."""
    return {
        name: torch.ones(shape, dtype=torch.bfloat16)
        for name, shape in promised_tensors(config)
        if not name.endswith("o_proj.weight")
    }
