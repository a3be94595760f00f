"""Every key of adapter_config.json: used, without effect on a merge, or refused with what to do.

The keys are those of PEFT 0.21's LoraConfig (peft/tuners/lora/config.py), of Unsloth and of ms-swift. A key
that is not here is refused by name unless it is off: a setting that nobody turned on changes nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Kinds = tuple[type, ...]
_NONE: Kinds = (type(None),)
_WITH_PEFT = "Merge it with PEFT (PeftModel.from_pretrained, merge_and_unload)"


@dataclass(frozen=True, kw_only=True)
class Used:
    """The merge follows it. `kinds`: the types that it may have; `of`: those of its items."""

    kinds: Kinds
    of: Kinds = ()


@dataclass(frozen=True, kw_only=True)
class NoEffect:
    """It says where the adapter came from, or how it was trained."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """With it the update is not scale * B @ A of a base weight, or that is not all of it."""

    because: str
    remedy: str
    off: tuple[Any, ...] = field(default=())
    """Values that mean that it is off, beside null, false and what is empty."""


Setting = Used | NoEffect | Refused

SETTINGS: Mapping[str, Setting] = {
    # The size of the update.
    "peft_type": Used(kinds=(str,)),
    "r": Used(kinds=(int,)),
    "lora_alpha": Used(kinds=(int, float)),
    "use_rslora": Used(kinds=(bool, *_NONE)),
    "use_dora": Used(kinds=(bool, *_NONE)),
    "rank_pattern": Used(kinds=(dict, *_NONE), of=(int,)),
    "alpha_pattern": Used(kinds=(dict, *_NONE), of=(int, float)),
    "init_lora_weights": Used(kinds=(bool, str, *_NONE)),
    # What is adapted.
    "task_type": Used(kinds=(str, *_NONE)),
    "target_modules": Used(kinds=(list, str, *_NONE), of=(str,)),
    "target_parameters": Used(kinds=(list, *_NONE), of=(str,)),
    "exclude_modules": Used(kinds=(list, str, *_NONE), of=(str,)),
    "layers_to_transform": Used(kinds=(list, int, *_NONE), of=(int,)),
    "layers_pattern": Used(kinds=(list, str, *_NONE), of=(str,)),
    "modules_to_save": Used(kinds=(list, *_NONE), of=(str,)),
    # How fused experts are packed: PEFT's version, and Unsloth's marks.
    "peft_version": Used(kinds=(str, *_NONE)),
    "auto_mapping": Used(kinds=(dict, *_NONE)),
    "lora_B_layout": Used(kinds=(str, *_NONE)),
    # Where it came from.
    "base_model_name_or_path": NoEffect(),
    "revision": NoEffect(),
    "inference_mode": NoEffect(),
    "runtime_config": NoEffect(),
    # How it was trained.
    "lora_dropout": NoEffect(),
    "eva_config": NoEffect(),
    "lora_dtype": NoEffect(),
    "lorap_lr_ratio": NoEffect(),
    "lorap_emb_lr": NoEffect(),
    # Read together with another key, which decides.
    "corda_config": NoEffect(),
    "lora_ga_config": NoEffect(),
    "loftq_config": NoEffect(),
    "qalora_group_size": NoEffect(),
    "megatron_core": NoEffect(),
    # Of tied weights, whose adapters are refused by the tensor that they change.
    "ensure_weight_tying": NoEffect(),
    # Another update than a plain one.
    "use_qalora": Refused(because="QALoRA pools the input of lora_A", remedy=_WITH_PEFT),
    "velora_config": Refused(because="VeLoRA keeps vectors of its own beside A and B", remedy=_WITH_PEFT),
    "use_bdlora": Refused(because="BD-LoRA's factors are block-diagonal", remedy=_WITH_PEFT),
    "kasa_config": Refused(because="KaSA truncates the base's weight first", remedy=_WITH_PEFT),
    "monteclora_config": Refused(because="MonteCLoRA samples its factors", remedy=_WITH_PEFT),
    "arrow_config": Refused(
        because="Arrow routes every token to an adapter of its own, so that none can be merged",
        remedy="Serve it with PEFT",
    ),
    "alora_invocation_tokens": Refused(
        because="activated LoRA acts only after these tokens, so that it cannot be merged",
        remedy="Serve it unmerged, on a server that knows aLoRA",
    ),
    "lora_bias": Refused(because="lora_B has a bias, for which the base has no tensor", remedy=_WITH_PEFT),
    "bias": Refused(
        because="biases of the base were trained too", remedy="Train with bias: none", off=("none",)
    ),
    "fan_in_fan_out": Refused(
        because="the update is of the transposed weight, as in GPT-2, and no layer of this base is one",
        remedy="Set it to false if PEFT warned in training that it does so itself; otherwise train again",
    ),
    "layer_replication": Refused(
        because="it repeats layers of the base under names of their own",
        remedy="Build the deeper base first, and train on that",
    ),
    "megatron_config": Refused(
        because="its layers are Megatron's and are named and divided as Megatron has them",
        remedy="Export it with Megatron-Bridge as a PEFT adapter of the Hugging Face model",
    ),
    "trainable_token_indices": Refused(
        because="single rows of the embeddings were trained too", remedy=_WITH_PEFT
    ),
}

PLAIN_INITIAL_WEIGHTS = frozenset({"gaussian", "orthogonal", "eva", "mica"})
"""First values of A and B that leave the base as it is, so that B @ A is the whole update."""

_SUBTRACTED = (
    "it subtracts the first B @ A from the base's weight, so that the update counts from another base"
)
_CONVERT = (
    "Save it converted: save_pretrained(FOLDER, path_initial_model_for_weight_conversion=INITIAL), where "
    "INITIAL is the adapter as it was before the first step"
)
CHANGED_BASES: Mapping[str, tuple[str, str]] = {
    "pissa": (_SUBTRACTED, _CONVERT),
    "olora": (_SUBTRACTED, _CONVERT),
    "corda": (_SUBTRACTED, _CONVERT),
    "lora_ga": (_SUBTRACTED, _CONVERT),
    "loftq": (
        "the adapter was trained on the base as LoftQ quantised it, which this base is not",
        "Merge it with PEFT into the quantised base that LoftQ saved",
    ),
}
"""First values that change the base: why the update alone is not it, and what to do."""


def is_off(value: object, setting: Setting | None = None) -> bool:
    """Whether a setting was not turned on: null, false, empty, or its own word for that."""
    return not value or (isinstance(setting, Refused) and value in setting.off)


def type_faults(raw: Mapping[str, Any]) -> Iterator[str]:
    """What is of a type that its key cannot have."""
    for name, value in raw.items():
        setting = SETTINGS.get(name)
        if not isinstance(setting, Used):
            continue
        inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
        if not _is_of(value, setting.kinds):
            yield f"{name} is {value!r:.200}, not {_names(setting.kinds)}"
        elif setting.of and (wrong := [item for item in inner if not _is_of(item, setting.of)]):
            yield f"{name} holds {wrong[0]!r:.200}, not {_names(setting.of)}"


def _is_of(value: object, kinds: Kinds) -> bool:
    # JSON's true is an int to Python.
    return isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)


_JSON = {str: "a string", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}


def _names(kinds: Kinds) -> str:
    return " or ".join(_JSON.get(kind, "a map") for kind in kinds if kind is not type(None))
