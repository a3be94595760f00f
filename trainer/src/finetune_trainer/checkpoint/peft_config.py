"""adapter_config.json: PEFT's LoraConfig of an adapter that has the base checkpoint's own names.

transformers 5 stacks the routed experts in two parameters, `experts.gate_up_proj` and `experts.down_proj`.
PEFT (0.21, peft/utils/transformers_weight_conversion.py) stacks the adapters of single experts to match as it
loads them. For that it takes `gate_proj`, `up_proj` and `down_proj` among target_modules to mean the experts,
and only these: the dense and shared MLPs have to be named by their parameters, or they stay without their
adapters, silently.
"""

import math
from collections.abc import Iterable
from typing import Any

from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.lora.targets import FEED_FORWARD

MLP = frozenset(FEED_FORWARD.values())
FUSED = frozenset({"gate_proj", "up_proj"})
"""PEFT makes them one adapter, of twice the rank and alpha, and refuses one that has only one of them."""


def peft_config(settings: LoRASettings, *, modules: Iterable[str], base: str) -> dict[str, Any]:
    """The fields that say how the adapters of `modules`, by their names in the base, are applied."""
    modules = list(modules)
    experts = {_leaf(module) for module in modules if ".experts." in module}
    others = {_leaf(module) for module in modules if ".experts." not in module}
    parameters = {f"{name}.weight" for name in others & MLP}
    if experts == FUSED:  # PEFT looks for it below the adapter of down_proj, so there has to be one
        parameters.add("experts.down_proj")
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": settings.rank,
        "lora_alpha": settings.alpha,
        # PEFT cannot drop the input of a parameter, and refuses to load what asks for it.
        "lora_dropout": 0.0 if experts or parameters else settings.dropout,
        "use_rslora": settings.use_rslora,
        "use_dora": settings.dora,
        "rank_pattern": dict(settings.rank_pattern),
        "alpha_pattern": {**settings.alpha_pattern, **(alpha_of_fused(settings) if experts >= FUSED else {})},
        "target_modules": sorted((others - MLP) | experts),
        "target_parameters": sorted(parameters),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }


def alpha_of_fused(settings: LoRASettings) -> dict[str, float]:
    """PEFT's pattern for experts that it fuses.

    rsLoRA's scale is alpha / sqrt(rank): twice the rank takes sqrt(2) alpha, where PEFT doubles it.
    """
    return {"experts.gate_up_proj": math.sqrt(2) * settings.alpha} if settings.use_rslora else {}


def _leaf(module: str) -> str:
    return module.rpartition(".")[2]
