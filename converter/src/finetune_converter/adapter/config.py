"""adapter_config.json: rank and scale of every module, as PEFT's LoraConfig defines them."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_converter.failure import Failure, Reason
from finetune_converter.files.json_object import read_json_object

CONFIG = "adapter_config.json"
MAX_NUMBER = 2**20
"""Of rank and alpha: far more than any adapter has, and what fp32 can hold exactly."""
_REMEDY = "Write the adapter again with PEFT or with this project's trainer"

_UNSUPPORTED = (
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "fan_in_fan_out",
    "layer_replication",
    "alora_invocation_tokens",
    "trainable_token_indices",
    "kasa_config",
    "velora_config",
    "monteclora_config",
    "arrow_config",
)
"""Settings under which the update is not scale * B @ A of a base weight, or B @ A is not all of it."""


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    rank: int
    alpha: float
    rslora: bool
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]

    def rank_of(self, module: str) -> int:
        return int(_by_pattern(self.rank_pattern, module, self.rank))

    def scale_of(self, module: str, rank: int) -> float:
        """alpha / r, or alpha / sqrt(r) with rsLoRA (Kalajdzievski, arXiv 2312.03732)."""
        alpha = float(_by_pattern(self.alpha_pattern, module, self.alpha))
        return alpha / math.sqrt(rank) if self.rslora else alpha / rank


def read_adapter_config(folder: Path) -> AdapterConfig:
    """Raises Failure(AdapterInvalid) naming the field that is wrong or that a plain merge cannot honour."""
    path = folder / CONFIG
    raw = read_json_object(path, Reason.ADAPTER_INVALID, _REMEDY)
    if raw.get("peft_type") != "LORA":
        raise Failure(
            Reason.ADAPTER_INVALID, f"{path}: peft_type is {raw.get('peft_type')!r}, not 'LORA'", _REMEDY
        )
    for name in _UNSUPPORTED:
        if raw.get(name):
            raise Failure(
                Reason.ADAPTER_INVALID,
                f"{path}: {name} is set, which this merge does not support",
                f"Train without {name}",
            )
    if raw.get("bias", "none") != "none":
        raise Failure(
            Reason.ADAPTER_INVALID, f"{path}: bias is {raw['bias']!r}, not 'none'", "Train with bias: none"
        )
    return AdapterConfig(
        rank=_number(path, raw, "r", int),
        alpha=_number(path, raw, "lora_alpha", float),
        rslora=bool(raw.get("use_rslora")),
        rank_pattern=_pattern(path, raw, "rank_pattern"),
        alpha_pattern=_pattern(path, raw, "alpha_pattern"),
    )


def _number(path: Path, raw: dict[str, Any], name: str, kind: type) -> Any:
    value = raw.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_NUMBER:
        raise Failure(
            Reason.ADAPTER_INVALID, f"{path}: {name} is {value!r}, not a number above 0, up to 2^20", _REMEDY
        )
    return kind(value)


def _pattern(path: Path, raw: dict[str, Any], name: str) -> dict[str, Any]:
    patterns = raw.get(name) or {}
    if not isinstance(patterns, dict):
        raise Failure(Reason.ADAPTER_INVALID, f"{path}: {name} is not a map", _REMEDY)
    for pattern in patterns:
        _number(path, patterns, pattern, float)
        try:
            re.compile(pattern)
        except re.error as error:
            raise Failure(Reason.ADAPTER_INVALID, f"{path}: {name}: {pattern!r}: {error}", _REMEDY) from error
    return patterns


def _by_pattern(patterns: Mapping[str, float], module: str, default: float) -> float:
    # PEFT's rule (peft.utils.other.get_pattern_key): the first pattern that matches a whole tail of the name.
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default
