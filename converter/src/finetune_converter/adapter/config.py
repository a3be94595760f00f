"""adapter_config.json: what PEFT's LoraConfig says of every module, read whole."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_converter.adapter.settings import (
    CHANGED_BASES,
    PLAIN_INITIAL_WEIGHTS,
    SETTINGS,
    Refused,
    is_off,
    type_faults,
)
from finetune_converter.adapter.targets import GATE_UP, STACKED, Targets, matching
from finetune_converter.adapter.updates import ExpertColumns
from finetune_converter.failure import Failure, Reason
from finetune_converter.files.json_object import read_json_object

CONFIG = "adapter_config.json"
MAX_NUMBER = 2**20
"""Of rank and alpha: far more than any adapter has, and what fp32 can hold exactly."""
_REMEDY = "Write the adapter again with PEFT or with this project's trainer"
_PATTERNS = ("rank_pattern", "alpha_pattern")


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    rank: int
    alpha: float
    rslora: bool
    dora: bool
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    targets: Targets
    saved: tuple[str, ...]
    """`modules_to_save`."""
    expert_columns: ExpertColumns
    raw: Mapping[str, Any]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was taken from a sign of the configuration that says it less than clearly."""
        if self.expert_columns is ExpertColumns.RANK_MAJOR or self.raw.get("lora_B_layout"):
            return ()
        return (
            "auto_mapping names Unsloth and lora_B_layout is not set: the columns of fused experts were read "
            "as Unsloth packed them until September 2026, one expert after the other.",
        )

    def rank_of(self, name: str) -> int:
        """Of a module, or of a parameter named by `target_parameters`."""
        return int(_by_pattern(self.rank_pattern, name, self.rank))

    def scale_of(self, name: str, rank: int) -> float:
        """alpha / r, or alpha / sqrt(r) with rsLoRA (Kalajdzievski, arXiv 2312.03732)."""
        alpha = float(_by_pattern(self.alpha_pattern, name, self.alpha))
        return alpha / math.sqrt(rank) if self.rslora else alpha / rank

    def halves(self, name: str) -> int:
        """Modules of target_modules that PEFT stacks in a parameter."""
        return 2 if name.endswith(f".experts.{GATE_UP}") and _stacks_both(self.targets) else 1


def read_adapter_config(folder: Path) -> AdapterConfig:
    """Raises Failure(AdapterInvalid) naming the field that is wrong or that a plain merge cannot honour."""
    path = folder / CONFIG
    raw = read_json_object(path, Reason.ADAPTER_INVALID, _REMEDY)
    if raw.get("peft_type") != "LORA":
        raise _invalid(path, f"peft_type is {raw.get('peft_type')!r}, not 'LORA'")
    _refuse_what_is_not_plain(path, raw)
    for fault in type_faults(raw):
        raise _invalid(path, fault)
    if raw.get("task_type") not in (None, "CAUSAL_LM"):
        raise _invalid(
            path, f"task_type is {raw['task_type']!r}: this base predicts tokens", "Train it for CAUSAL_LM"
        )
    _check_initial_weights(path, raw.get("init_lora_weights"))
    for name in _PATTERNS:
        _check_pattern(path, name, raw.get(name) or {})
    targets = _targets(path, raw)
    rank = _number(path, "r", raw.get("r"), int)
    alpha = _number(path, "lora_alpha", raw.get("lora_alpha"), float)
    # PEFT (_convert_peft_config_moe) gives the stack of both twice rank and alpha, whatever it had.
    both = r".*\.gate_up_proj" if _stacks_both(targets) else None
    return AdapterConfig(
        rank=rank,
        alpha=alpha,
        rslora=bool(raw.get("use_rslora")),
        dora=bool(raw.get("use_dora")),
        rank_pattern={**(raw.get("rank_pattern") or {}), **({both: 2 * rank} if both else {})},
        alpha_pattern={**(raw.get("alpha_pattern") or {}), **({both: 2 * alpha} if both else {})},
        targets=targets,
        saved=tuple(raw.get("modules_to_save") or ()),
        expert_columns=_expert_columns(path, raw),
        raw=raw,
    )


def _stacks_both(targets: Targets) -> bool:
    """Whether target_modules names both modules that transformers 5 stacks in gate_up_proj."""
    return {leaf for leaf, parameter in STACKED.items() if parameter == GATE_UP} <= targets.stacked_modules()


def _expert_columns(path: Path, raw: Mapping[str, Any]) -> ExpertColumns:
    """Unsloth wrote no mark until it packed as PEFT does (unsloth-zoo pull requests 1232 and 1269)."""
    said, mapping = raw.get("lora_B_layout"), raw.get("auto_mapping") or {}
    if said is not None and said not in list(ExpertColumns):
        raise _invalid(path, f"lora_B_layout is {said!r}, not one of {', '.join(ExpertColumns)}")
    by_unsloth = any("unsloth" in f"{name} {value}".lower() for name, value in mapping.items())
    return ExpertColumns(said or ("grouped_by_expert" if by_unsloth else "rank_major"))


def _refuse_what_is_not_plain(path: Path, raw: Mapping[str, Any]) -> None:
    for name, value in raw.items():
        setting = SETTINGS.get(name)
        if setting is None and not is_off(value):
            raise _invalid(
                path,
                f"{name} is {value!r:.200}, a setting that this version does not know",
                "Remove it if it changes nothing in the weights; otherwise merge with the tool that wrote it",
            )
        if isinstance(setting, Refused) and not is_off(value, setting):
            raise _invalid(path, f"{name} is {value!r:.200}: {setting.because}", setting.remedy)


def _check_initial_weights(path: Path, value: bool | str | None) -> None:
    """PEFT writes true into the configuration of an adapter that it saved converted."""
    if not isinstance(value, str):
        return
    name = value.lower()
    for changed, (because, remedy) in CHANGED_BASES.items():
        if name == changed or name.startswith(f"{changed}_niter_"):
            raise _invalid(path, f"init_lora_weights is {value!r}: {because}", remedy)
    if name not in PLAIN_INITIAL_WEIGHTS:
        raise _invalid(
            path,
            f"init_lora_weights is {value!r}, which this version does not know",
            "Set it to true if it left the base's weights alone; otherwise merge with the tool that wrote it",
        )


def _targets(path: Path, raw: Mapping[str, Any]) -> Targets:
    targets = Targets.of(raw)
    for name, pattern in targets.expressions():
        _compiled(path, name, pattern)
    if not targets.modules and not targets.parameters:
        raise _invalid(path, "neither target_modules nor target_parameters says what is adapted")
    if isinstance(raw.get("target_modules"), str) and raw.get("layers_to_transform") is not None:
        raise _invalid(path, "layers_to_transform is set beside a target_modules that is an expression")
    return targets


def _number(path: Path, name: str, value: object, kind: type) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_NUMBER:
        raise _invalid(path, f"{name} is {value!r}, not a number above 0, up to 2^20")
    return kind(value)


def _check_pattern(path: Path, name: str, patterns: Mapping[str, Any]) -> None:
    for pattern, value in patterns.items():
        _number(path, f"{name} {pattern!r}", value, float)
        _compiled(path, name, pattern)


def _compiled(path: Path, name: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise _invalid(path, f"{name}: {pattern!r}: {error}") from error


def _by_pattern(patterns: Mapping[str, float], name: str, default: float) -> float:
    # PEFT's rule (peft.utils.other.get_pattern_key): the first pattern that matches a whole tail of the name.
    return next((value for pattern, value in patterns.items() if matching(pattern, name)), default)


def _invalid(path: Path, fault: str, remedy: str = _REMEDY) -> Failure:
    return Failure(f"{path}: {fault}", Reason.ADAPTER_INVALID, remedy)
