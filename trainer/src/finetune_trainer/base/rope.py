"""A base's rotary embedding, in every spelling of config.json.

transformers 5 writes `rope_parameters`; earlier versions wrote `rope_scaling` and `rope_theta`. Of the scaled
ropes only YaRN is taken: vLLM computes every scaled rope of a DeepSeek as YaRN, whatever its type
(vllm/model_executor/models/deepseek_v2.py), so a model trained with another one would be served as a third.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_trainer.contract.failure import DataError, Reason

ROPE_FIELDS = frozenset({"rope_parameters", "rope_scaling", "rope_theta"})
DEFAULT_THETA = 10000.0  # transformers' PreTrainedConfig.default_theta


@dataclass(frozen=True, kw_only=True)
class Yarn:
    """https://arxiv.org/abs/2309.00071, with DeepSeek-V2's two scales of the attention."""

    factor: float
    original_length: int
    """Tokens: the context before it was stretched."""
    beta_fast: float
    beta_slow: float
    mscale: float
    mscale_all_dim: float

    @property
    def attention_factor(self) -> float:
        """What cosine and sine are multiplied by."""
        return self._magnitude(self.mscale) / self._magnitude(self.mscale_all_dim)

    def _magnitude(self, mscale: float) -> float:
        return 0.1 * mscale * math.log(self.factor) + 1.0 if self.factor > 1 else 1.0


@dataclass(frozen=True, kw_only=True)
class Rope:
    theta: float
    yarn: Yarn | None = None

    def __str__(self) -> str:
        if self.yarn is None:
            return f"plain (theta {self.theta:g})"
        return f"theta {self.theta:g}, {self.yarn}"


def read_rope(config: Mapping[str, Any], file: Path) -> Rope:
    """The rope of a config.json. Raises DataError naming the field that cannot be computed with exactly."""
    where, fields = _rope_fields(config, file)
    theta = _theta(config, fields, where, file)
    kind = fields.get("rope_type", fields.get("type", "default"))
    if {fields.get("rope_type", kind), fields.get("type", kind)} != {kind}:
        raise _refused(file, f"{where} has both type {fields['type']!r} and rope_type {kind!r}", "Remove one")
    if kind not in ("default", "yarn"):
        raise _refused(
            file,
            f"{where}.rope_type is {kind!r}: vLLM computes every scaled rope of DeepSeek as YaRN",
            "Use a base whose rope is plain (null) or YaRN",
        )
    named = "rope_type" in fields or "type" in fields
    if not named and any(fields.get(name) is not None for name in _YARN_FIELDS):
        raise _refused(file, f"{where} has no type", 'Add "type": "yarn", or "default" if it is not scaled')
    _check_keys(fields, where, file)
    return Rope(theta=theta, yarn=_yarn(fields, where, file) if kind == "yarn" else None)


def _theta(config: Mapping[str, Any], fields: Mapping[str, Any], where: str, file: Path) -> float:
    """Beside the other fields of the rope, or inside, which goes before. Null is no default: it fails."""
    if "rope_theta" in fields:
        return _above_0(fields["rope_theta"], f"{where}.rope_theta", file)
    return _above_0(config.get("rope_theta", DEFAULT_THETA), "rope_theta", file)


def _rope_fields(config: Mapping[str, Any], file: Path) -> tuple[str, Mapping[str, Any]]:
    """The field that holds the rope, and what is in it."""
    found = {name: config[name] for name in ("rope_scaling", "rope_parameters") if config.get(name)}
    if len(found) == 2 and found["rope_scaling"] != found["rope_parameters"]:
        raise _refused(file, "rope_scaling and rope_parameters contradict each other", "Remove one of them")
    for name, fields in found.items():
        if not isinstance(fields, dict):
            raise _refused(file, f"{name} is {fields!r}, which is no object", "Correct it, or set it to null")
        return name, fields
    return "rope_parameters", {}


def _yarn(fields: Mapping[str, Any], where: str, file: Path) -> Yarn:
    scales = [name for name in ("mscale", "mscale_all_dim") if fields.get(name) is not None]
    if len(scales) == 1:
        raise _refused(
            file,
            f"{where} has {scales[0]} alone, with which transformers and vLLM compute differently",
            "Give both mscale and mscale_all_dim, or neither",
        )
    factor = _number(fields, "factor", where, file, None)
    if factor < 1:
        raise _refused(file, f"{where}.factor is {factor:g}, less than 1", "Correct it")
    return Yarn(
        factor=factor,
        original_length=int(_number(fields, "original_max_position_embeddings", where, file, None)),
        beta_fast=_number(fields, "beta_fast", where, file, 32.0),
        beta_slow=_number(fields, "beta_slow", where, file, 1.0),
        # Where neither is there, cosine and sine take all of the scale, and the softmax none.
        mscale=_number(fields, "mscale", where, file, 1.0),
        mscale_all_dim=_number(fields, "mscale_all_dim", where, file, None) if scales else 0.0,
    )


_YARN_FIELDS = (
    "factor",
    "original_max_position_embeddings",
    "beta_fast",
    "beta_slow",
    "mscale",
    "mscale_all_dim",
)
_ONE_VALUE = {"truncate": True, "partial_rotary_factor": 1, "extrapolation_factor": 1, "attn_factor": 1}


def _check_keys(fields: Mapping[str, Any], where: str, file: Path) -> None:
    known = {"rope_type", "type", "rope_theta", *_YARN_FIELDS}
    for name, value in fields.items():
        if name in known or (name in _ONE_VALUE and value == _ONE_VALUE[name]):
            continue
        if value is None and name not in _ONE_VALUE:
            continue
        problem = (
            "with which transformers and vLLM compute differently"
            if name == "attention_factor"
            else "which is not computed with here"
        )
        raise _refused(file, f"{where}.{name} is {value!r}, {problem}", "Use a base without it")


def _number(fields: Mapping[str, Any], name: str, where: str, file: Path, default: float | None) -> float:
    value = fields.get(name)
    if value is None and default is not None:
        value = default
    if value is None:
        raise _refused(file, f"{where}.{name} is missing, which YaRN needs", "Add it, as the base was made")
    return _above_0(value, f"{where}.{name}", file)


def _above_0(value: Any, field: str, file: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise _refused(file, f"{field} is {value!r}, which is no number above 0", "Correct it, or remove it")
    return float(value)


def _refused(file: Path, problem: str, remedy: str) -> DataError:
    return DataError(f"{file}: {problem}", Reason.BASE_INVALID, remedy=remedy)
