"""A base's shape: the numbers of its config.json that a model is built from, by transformers' names."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from finetune_trainer.base.families import FAMILIES, Family
from finetune_trainer.contract.failure import DataError, Reason

TopkMethod = Literal["noaux_tc", "greedy", "group_limited_greedy"]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Multi-head latent attention in every layer, and experts in all after the first dense ones."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    first_k_dense_replace: int
    """Layers without experts, the first ones."""
    intermediate_size: int | None
    """Of their feed-forward; None where there are none."""
    num_attention_heads: int
    q_lora_rank: int | None
    """None: queries are projected at once."""
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    moe_intermediate_size: int
    n_routed_experts: int
    n_shared_experts: int
    num_experts_per_tok: int
    scoring_func: Literal["sigmoid", "softmax"] = "sigmoid"
    topk_method: TopkMethod = "noaux_tc"
    n_group: int = 1
    topk_group: int = 1
    norm_topk_prob: bool = True
    routed_scaling_factor: float = 1.0
    rms_norm_eps: float = 1e-6

    @property
    def choosable_experts(self) -> int:
        """How many experts are in the groups that a token may choose from."""
        return self.n_routed_experts // self.n_group * self.topk_group


def read_shape(config: Mapping[str, Any], file: Path) -> Shape:
    """The shape that a config.json of a known `model_type` says. Raises DataError naming a field."""
    family = FAMILIES[config["model_type"]]
    values = {field.name: _value(field, family, config, file) for field in dataclasses.fields(Shape)}
    if not values["first_k_dense_replace"]:
        values["intermediate_size"] = None
    shape = Shape(**values)
    for field, expected, why in _following(shape):
        found = config.get(field, family.defaults.get(field))
        if found is not None and found != expected:
            raise _refused(file, f"{field} is {found!r}, only {expected} is computed here: {why}")
    for problem in _contradictions(shape):
        raise _refused(file, problem)
    return shape


def difference(shape: Shape, config: Mapping[str, Any], file: Path) -> str | None:
    """The first field of a config.json that is not as in `shape`; None if all are. Raises DataError."""
    found = read_shape(config, file)
    for field in dataclasses.fields(Shape):
        expected, its = getattr(shape, field.name), getattr(found, field.name)
        if not _same(its, expected):
            return f"{field.name} is {its!r}, the flavor needs {expected!r}"
    return None


def _value(field: dataclasses.Field[Any], family: Family, config: Mapping[str, Any], file: Path) -> Any:
    name = field.name
    if name == "scoring_func":
        return _one_of(name, (family.scoring_func,), family, config, file)
    if name == "topk_method":
        return _one_of(name, family.topk_methods, family, config, file)
    if name == "first_k_dense_replace":
        return _dense_layers(family, config, file)
    value = config.get(name, family.defaults.get(name))
    if value is None:
        value = _WHEN_NULL.get(family.model_type, {}).get(name)
    if name == "q_lora_rank" and value is None:
        return None
    if field.type is bool:
        return _checked(value, isinstance(value, bool), name, "true or false", file)
    if field.type is float:
        return float(
            _checked(value, _is_number(value) and 0 < value < math.inf, name, "number above 0", file)
        )
    return _checked(value, type(value) is int and value > 0, name, "whole number above 0", file)


# What transformers' classes take for a field that is null.
_WHEN_NULL: Mapping[str, Mapping[str, Any]] = {"deepseek_v2": {"n_group": 1, "topk_group": 1}}


def _one_of(name: str, known: tuple[str, ...], family: Family, config: Mapping[str, Any], file: Path) -> str:
    value = config.get(name)
    if value is None:
        return known[0]
    if value not in known:
        problem = f"{name} is {value!r}, a {family.model_type} is computed with {' or '.join(known)}"
        raise _refused(file, problem)
    return str(value)


def _dense_layers(family: Family, config: Mapping[str, Any], file: Path) -> int:
    """transformers 5 writes a GLM's as a list, a word a layer, and does not read the number."""
    name = "first_k_dense_replace"
    value = config.get(name, family.defaults.get(name))
    kinds = config.get("mlp_layer_types")
    if kinds is not None:
        layers = config.get("num_hidden_layers", family.defaults["num_hidden_layers"])
        listed = kinds.count("dense") if isinstance(kinds, list) else 0
        if kinds != ["dense"] * listed + ["sparse"] * (layers - listed) or value != listed:
            raise _refused(file, f"mlp_layer_types is not {name} (here {value}) times dense, then sparse")
    elif family.unlisted_dense_layers not in (None, value):
        raise _refused(
            file,
            f"{name} is {value!r}, and transformers, which reads mlp_layer_types instead, takes "
            f"{family.unlisted_dense_layers}",
        )
    return int(_checked(value, type(value) is int and value >= 0, name, "whole number", file))


def _following(shape: Shape) -> tuple[tuple[str, int, str], ...]:
    """Fields that follow from others, which transformers takes from config.json where they are there."""
    return (
        ("num_key_value_heads", shape.num_attention_heads, "latent attention has keys for every head"),
        ("head_dim", shape.qk_rope_head_dim, "it is the rotary part, qk_rope_head_dim"),
        (
            "qk_head_dim",
            shape.qk_nope_head_dim + shape.qk_rope_head_dim,
            "it is qk_nope_head_dim and qk_rope_head_dim together",
        ),
    )


def _contradictions(shape: Shape) -> list[str]:
    """What no model can be, and what transformers and vLLM compute differently."""
    groups, experts = shape.n_group, shape.n_routed_experts
    rules = (
        (
            shape.first_k_dense_replace >= shape.num_hidden_layers,
            f"first_k_dense_replace is {shape.first_k_dense_replace}: none of the "
            f"{shape.num_hidden_layers} layers has experts, which is another model",
        ),
        (shape.qk_rope_head_dim % 2 != 0, f"qk_rope_head_dim is {shape.qk_rope_head_dim}: pairs are turned"),
        (experts % groups != 0, f"n_routed_experts is {experts}, which n_group, {groups}, does not divide"),
        (shape.topk_group > groups, f"topk_group is {shape.topk_group}, n_group only {groups}"),
        (
            shape.topk_method == "noaux_tc" and experts // groups < 2,
            f"n_group is {groups}: a group is scored by its two best experts, and has fewer",
        ),
        (
            shape.topk_method == "greedy" and groups > 1,
            f"n_group is {groups}, with which transformers and vLLM compute a greedy router differently",
        ),
        (
            shape.num_experts_per_tok > shape.choosable_experts,
            f"num_experts_per_tok is {shape.num_experts_per_tok}, more than the {shape.choosable_experts} "
            "experts of the groups that a token may choose from",
        ),
    )
    return [problem for broken, problem in rules if broken]


def _checked(value: Any, is_right: bool, name: str, what: str, file: Path) -> Any:
    if not is_right:
        raise _refused(file, f"{name} is {value!r}, which is no {what}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(found: Any, expected: Any) -> bool:
    if isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=1e-6)
    return bool(found == expected)


def _refused(file: Path, problem: str) -> DataError:
    return DataError(f"{file}: {problem}", Reason.BASE_INVALID, remedy="Use a base without it, or correct it")
