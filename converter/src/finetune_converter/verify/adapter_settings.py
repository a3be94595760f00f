"""adapter_config.json as PEFT's own LoraConfig, of which a plain merge can carry out every setting."""

from dataclasses import fields
from pathlib import Path

from peft import LoraConfig

from finetune_converter.failure import Failure, Reason
from finetune_converter.files.json_object import read_json_object

CONFIG = "adapter_config.json"

# What PEFT's layers do with these is in the factors and scales that the gate asks them for.
_DECIDES = frozenset(
    (
        "peft_type", "r", "lora_alpha", "use_rslora", "use_dora", "rank_pattern", "alpha_pattern",
        "target_modules", "target_parameters", "exclude_modules", "layers_to_transform", "layers_pattern",
        "modules_to_save",
    )
)  # fmt: skip
# These say what training did, and change nothing of what is trained.
_CHANGES_NOTHING = frozenset(
    (
        "task_type", "base_model_name_or_path", "revision", "auto_mapping", "peft_version", "inference_mode",
        "lora_dropout", "megatron_core", "qalora_group_size", "runtime_config", "eva_config", "loftq_config",
        "ensure_weight_tying", "lora_dtype",
        "lorap_lr_ratio", "lorap_emb_lr", "lora_B_layout",
    )
)  # fmt: skip
_BASE_UNCHANGED = (None, True, False, "gaussian", "eva", "orthogonal", "mica")
"""init_lora_weights that leave the base as it is. PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA take a part out of
the base's weights: such an adapter belongs to another base, unless PEFT converted it when saving."""


def read_lora_config(folder: Path) -> LoraConfig:
    """Raises Failure(AdapterInvalid) naming the setting."""
    path = folder / CONFIG
    raw = read_json_object(path, Reason.ADAPTER_INVALID, "Write the adapter again with PEFT")
    if raw.get("peft_type") != "LORA":
        raise _refused(path, f"peft_type is {raw.get('peft_type')!r}, not 'LORA'", "Give a LoRA adapter")
    defaults = LoraConfig()
    known = {field.name for field in fields(LoraConfig)} | _CHANGES_NOTHING
    for name, value in raw.items():
        if name in _DECIDES or name in _CHANGES_NOTHING:
            continue
        if name == "init_lora_weights" and value in _BASE_UNCHANGED:
            continue
        # A later PEFT adds settings; one that is not set changes nothing.
        default = getattr(defaults, name, None)
        if value and value != getattr(default, "value", default):
            kind = "is set" if name in known else "is unknown to the PEFT that checks merges"
            raise _refused(
                path,
                f"{name}: {value!r:.80} {kind}, and the merge is base + scale * B @ A",
                f"Train without {name}, or let PEFT convert the adapter when it saves it",
            )
    accepted = {name: value for name, value in raw.items() if name in _DECIDES}
    # The base is found in its folder: PEFT must not look for the name of its repository.
    try:
        return LoraConfig(**{**accepted, "init_lora_weights": False, "inference_mode": True})
    except (TypeError, ValueError) as error:
        raise _refused(path, f"PEFT refuses it: {str(error)[:300]}", "Write it again with PEFT") from error


def is_grouped_by_expert(folder: Path) -> bool:
    """Whether all columns of an expert stand together in a stacked lora_B, as Unsloth wrote them.

    It says so in lora_B_layout; until September 2026 (unsloth-zoo pull request 1232) its name in auto_mapping
    is the only sign.
    """
    raw = read_json_object(folder / CONFIG, Reason.ADAPTER_INVALID, "Write the adapter again with PEFT")
    layout = raw.get("lora_B_layout")
    return layout == "grouped_by_expert" or (not layout and "unsloth" in str(raw.get("auto_mapping")).lower())


def _refused(path: Path, fault: str, remedy: str) -> Failure:
    return Failure(f"{path}: {fault}", Reason.ADAPTER_INVALID, remedy)
