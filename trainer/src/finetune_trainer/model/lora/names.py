"""Which parameters are adapters, and whose."""

import re

from finetune_trainer.model.lora.experts import EXPERT_WEIGHTS

MAGNITUDE = "lora_magnitude_vector"


def is_adapter(name: str) -> bool:
    """Whether a parameter, by its name in the model, belongs to an adapter."""
    return "lora_" in name


def base_of_adapter(name: str) -> tuple[str, str]:
    """The base weight that adapter parameter `name` belongs to, and PEFT's name of the part: "lora_A".

    "layers.0.attention.wo.lora_a.weight" belongs to "layers.0.attention.wo.weight" and
    "...inner_experts.w1_lora_a" to "...inner_experts.w1_EFD".
    """
    if linear := re.fullmatch(r"(.+)\.lora_([ab])\.weight", name):
        return f"{linear[1]}.weight", f"lora_{linear[2].upper()}"
    if magnitude := re.fullmatch(r"(.+)\.lora_magnitude\.weight", name):
        return f"{magnitude[1]}.weight", MAGNITUDE
    experts = re.fullmatch(r"(.+)\.(w[123])_lora_([ab])", name)
    if experts is None:
        raise ValueError(f"{name} is not an adapter's parameter")
    return f"{experts[1]}.{EXPERT_WEIGHTS[experts[2]]}", f"lora_{experts[3].upper()}"
