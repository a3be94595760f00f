"""Whether a base's config.json describes the model that a flavour builds, where tensor shapes cannot tell."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torchtitan.models.deepseek_v3 import DeepSeekV3Model

from finetune_trainer.contract.failure import DataError, Reason


def check_hf_config(model: DeepSeekV3Model.Config, folder: Path) -> None:
    """Raise DataError naming the first field of `folder`/config.json that `model` contradicts.

    A field that config.json leaves out is not compared: transformers has a default for it.
    """
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{file} cannot be read ({error})", Reason.BASE_INCOMPLETE, remedy="Fetch the base model again"
        ) from error
    found = config | _rope_fields(config)
    for field, expected in expected_fields(model):
        if found.get(field) is not None and not _same(found[field], expected):
            raise DataError(
                f"{file}: {field} is {found[field]!r}, the flavor needs {expected!r}",
                Reason.BASE_INVALID,
                remedy="Use the flavor that belongs to this base model",
            )


def expected_fields(model: DeepSeekV3Model.Config) -> Iterator[tuple[str, Any]]:
    """config.json's fields, by the names of transformers' DeepseekV3Config, as `model` computes them."""
    attention = model.layers[0].attention
    yield "num_hidden_layers", len(model.layers)
    yield "num_attention_heads", attention.n_heads
    yield "first_k_dense_replace", sum(layer.moe is None for layer in model.layers)
    yield "rms_norm_eps", model.norm.eps
    yield "qk_nope_head_dim", attention.qk_nope_head_dim
    yield "qk_rope_head_dim", attention.qk_rope_head_dim
    yield "v_head_dim", attention.v_head_dim
    yield from _expected_routing(model)
    rope = attention.rope
    yield "rope_theta", rope.theta
    yield "rope.factor", rope.rope_factor
    yield "rope.beta_fast", rope.beta_fast
    yield "rope.beta_slow", rope.beta_slow
    yield "rope.original_max_position_embeddings", rope.original_seq_len
    yield "rope.mscale_all_dim", attention.mscale


def _expected_routing(model: DeepSeekV3Model.Config) -> Iterator[tuple[str, Any]]:
    router = next(layer.moe.router for layer in model.layers if layer.moe is not None)
    yield "n_routed_experts", router.num_experts
    yield "num_experts_per_tok", router.top_k
    yield "scoring_func", router.score_func
    yield "norm_topk_prob", router.route_norm
    yield "routed_scaling_factor", router.route_scale
    if router.num_expert_groups is not None:
        yield "n_group", router.num_expert_groups
        yield "topk_group", router.num_limited_groups


def _rope_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """transformers 5 writes `rope_parameters` where earlier ones wrote `rope_scaling` and `rope_theta`."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = rope.get("rope_theta", config.get("rope_theta"))
    return {f"rope.{key}": value for key, value in rope.items()} | {"rope_theta": theta}


def _same(found: Any, expected: Any) -> bool:
    if isinstance(expected, float) and isinstance(found, int | float):
        return abs(found - expected) <= 1e-6 * abs(expected)
    return bool(found == expected)
