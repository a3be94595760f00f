"""A base's config.json: what of it a model computes with, and whether a flavour's model is the base's.

Every field has one of four places: those of `expected_fields` must be the flavour's, those of base/rope.py
are computed with as they are, those in `FIXED` must have the one value that is computed here, and those in
`CHANGES_NOTHING` have no part in a forward pass. A field of another name is refused if it sounds like
computation, and named in the log if not.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torchtitan.models.deepseek_v3 import DeepSeekV3Model

from finetune_trainer.base.config_fields import (
    ARCHITECTURES,
    CHANGES_NOTHING,
    COMPUTES,
    DEFAULTS,
    FIXED,
    FOLLOWING,
    TOPK_METHODS,
)
from finetune_trainer.base.foreign_files import foreign_content
from finetune_trainer.base.quantization import check_quantization
from finetune_trainer.base.rope import ROPE_FIELDS, read_rope
from finetune_trainer.contract.failure import DataError, Reason

logger = logging.getLogger(__name__)

CONFIG = "config.json"


def read_hf_config(folder: Path) -> dict[str, Any]:
    """`folder`/config.json. Raises DataError if it is no JSON object, saying what it is instead."""
    file = folder / CONFIG
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        found = foreign_content(file)
        problem, remedy = found or (f"cannot be read ({error})", "Fetch the base model again")
        raise DataError(f"{file}: {problem}", Reason.BASE_INCOMPLETE, remedy=remedy) from error
    if not isinstance(config, dict):
        raise DataError(
            f"{file} is no JSON object", Reason.BASE_INCOMPLETE, remedy="Fetch the base model again"
        )
    return config


def check_hf_config(model: DeepSeekV3Model.Config, folder: Path) -> None:
    """Raise DataError naming the first field of `folder`/config.json that `model` does not compute with.

    The rope is left aside: a model takes its base's (model/rope.py).
    """
    config = read_hf_config(folder)
    check_supported(config, folder / CONFIG)
    if problem := mismatch(model, config):
        raise _refused(folder / CONFIG, problem, "Use the flavor that belongs to this base model")


def check_supported(config: Mapping[str, Any], file: Path) -> None:
    """Raise DataError naming the first field of a config.json that no flavour computes with."""
    _check_model_type(config, file)
    _check_scoring(config, file)
    check_quantization(config, file)
    read_rope(config, file)
    for field, (value, remedy) in FIXED.items():
        found = config.get(field)
        if found is not None and not _same(found, value):
            raise _refused(file, f"{field} is {found!r}, only {value!r} is computed here", remedy)
    _check_unknown(config, file)


def mismatch(model: DeepSeekV3Model.Config, config: Mapping[str, Any]) -> str | None:
    """The first field of a config.json that `model` contradicts, the rope left aside; None if it fits."""
    defaults = DEFAULTS[config["model_type"]]
    for field, expected in expected_fields(model):
        if field in FOLLOWING and field not in config:
            continue
        found = config.get(field, defaults.get(field))
        if found is None:
            found = _when_null(field, config)
        if not _same(found, expected):
            return f"{field} is {found!r}, the flavor needs {expected!r}"
    return None


def _when_null(field: str, config: Mapping[str, Any]) -> Any:
    """What transformers' classes take for a field that is null."""
    if field == "num_key_value_heads":
        return config.get("num_attention_heads")
    if config["model_type"] == "deepseek_v2" and field in ("n_group", "topk_group"):
        return 1
    return None


def expected_fields(model: DeepSeekV3Model.Config) -> Iterator[tuple[str, Any]]:
    """config.json's fields, by the names of transformers' DeepseekV3Config, as `model` computes them."""
    attention, dense = model.layers[0].attention, model.layers[0].feed_forward
    yield "model_type", _model_type(model)
    yield "hidden_size", model.dim
    yield "vocab_size", model.vocab_size
    yield "num_hidden_layers", len(model.layers)
    yield "num_attention_heads", attention.n_heads
    yield "num_key_value_heads", attention.n_heads
    yield "first_k_dense_replace", sum(layer.moe is None for layer in model.layers)
    yield "intermediate_size", dense.w1.out_features
    yield "rms_norm_eps", model.norm.eps
    yield "q_lora_rank", attention.q_lora_rank or None
    yield "kv_lora_rank", attention.kv_lora_rank
    yield "qk_nope_head_dim", attention.qk_nope_head_dim
    yield "qk_rope_head_dim", attention.qk_rope_head_dim
    yield "v_head_dim", attention.v_head_dim
    yield "head_dim", attention.qk_rope_head_dim
    yield "qk_head_dim", attention.qk_nope_head_dim + attention.qk_rope_head_dim
    yield from _expected_experts(model)


def _expected_experts(model: DeepSeekV3Model.Config) -> Iterator[tuple[str, Any]]:
    moe = next(layer.moe for layer in model.layers if layer.moe is not None)
    router, hidden = moe.router, moe.routed_experts.inner_experts.hidden_dim
    yield "moe_intermediate_size", hidden
    yield "n_shared_experts", moe.shared_experts.w1.out_features // hidden
    yield "n_routed_experts", router.num_experts
    yield "num_experts_per_tok", router.top_k
    yield "scoring_func", router.score_func
    yield "topk_method", TOPK_METHODS[_model_type(model)]
    yield "norm_topk_prob", router.route_norm
    yield "routed_scaling_factor", router.route_scale
    yield "n_group", router.num_expert_groups or 1
    yield "topk_group", router.num_limited_groups or 1


def _model_type(model: DeepSeekV3Model.Config) -> str:
    """DeepSeek-V2 scores its experts by a softmax, DeepSeek-V3 by sigmoids."""
    router = next(layer.moe.router for layer in model.layers if layer.moe is not None)
    return "deepseek_v3" if router.score_func == "sigmoid" else "deepseek_v2"


def _check_model_type(config: Mapping[str, Any], file: Path) -> None:
    model_type, remedy = config.get("model_type"), f"Use a base of type {' or '.join(ARCHITECTURES)}"
    if model_type not in ARCHITECTURES:
        problem = (
            "is missing" if model_type is None else f"is {model_type!r}, another model than is trained here"
        )
        raise _refused(file, f"model_type {problem}", remedy)
    architectures = config.get("architectures")
    if architectures not in (None, [], [ARCHITECTURES[model_type]]):
        raise _refused(
            file,
            f"architectures is {architectures!r}, the language model of {model_type} is "
            f"{ARCHITECTURES[model_type]}",
            remedy,
        )


def _check_scoring(config: Mapping[str, Any], file: Path) -> None:
    """transformers scores a DeepSeek-V3's experts by sigmoids, and leaves these fields out when it saves."""
    for field in ("scoring_func", "topk_method"):
        if config["model_type"] == "deepseek_v3" and config.get(field) is None:
            raise _refused(
                file,
                f"{field} is missing, without which vLLM serves another model",
                'Add "scoring_func": "sigmoid" and "topk_method": "noaux_tc", as in DeepSeek-V3\'s own',
            )


def _check_unknown(config: Mapping[str, Any], file: Path) -> None:
    known = CHANGES_NOTHING | FIXED.keys() | ROPE_FIELDS | _FLAVOR_FIELDS
    unknown = [name for name, value in config.items() if name not in known and value not in (None, False)]
    for name in unknown:
        if COMPUTES.search(name.lower()):
            raise _refused(
                file,
                f"{name} is {config[name]!r}, which no DeepSeek-V3 computes with",
                "Use a base without it; if it has no part in the model's computation, remove it there",
            )
    if unknown:
        logger.warning("%s: nothing here reads %s", file, ", ".join(unknown))


_FLAVOR_FIELDS = frozenset(
    {"model_type", "num_key_value_heads", "num_experts_per_tok", "quantization_config", "compression_config"}
    | DEFAULTS["deepseek_v2"].keys()
    | set(FOLLOWING)
)


def _refused(file: Path, problem: str, remedy: str) -> DataError:
    return DataError(f"{file}: {problem}", Reason.BASE_INVALID, remedy=remedy)


def _same(found: Any, expected: Any) -> bool:
    if isinstance(expected, bool) or isinstance(found, bool):
        return found is expected
    if isinstance(expected, float) and isinstance(found, int | float):
        return abs(found - expected) <= 1e-6 * abs(expected)
    return bool(found == expected)
