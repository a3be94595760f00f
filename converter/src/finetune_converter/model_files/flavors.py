"""The trainer's flavours: how many layers each has of the model whose widths it shares."""

from collections.abc import Mapping
from typing import Any

from finetune_converter.failure import Failure, Reason

# Layers, and how many of them are dense; the widths are the original's.
DEBUG = "deepseek_aghilora"
"""Of any base: its first dense layer, where it has one, and its first with experts."""
LAYERS = {
    "tiny_lora": (4, 1),
    DEBUG: (2, 1),
    "16B_lora": (27, 1),
    "671B_lora": (61, 3),
}


def known_flavor(flavor: str) -> str:
    """The flavour of that name, or of torchtitan's for the same size. Raises Failure(SettingInvalid)."""
    for name in (flavor, f"{flavor}_lora"):
        if name in LAYERS:
            return name
    raise Failure(
        f"--flavor: {flavor} does not exist", Reason.SETTING_INVALID, f"Use one of {', '.join(LAYERS)}"
    )


def is_of_flavor(config: Mapping[str, Any], flavor: str) -> bool:
    """Whether config.json has the flavour's layers."""
    return (config.get("num_hidden_layers"), config.get("first_k_dense_replace")) == _layers(config, flavor)


def flavor_config(config: Mapping[str, Any], flavor: str) -> dict[str, Any]:
    """config.json of a flavour, from the original's: its layers, no MTP, and weights in bfloat16."""
    layers, dense = _layers(config, flavor)
    kept = {name: value for name, value in config.items() if name != "quantization_config"}
    listed = {"mlp_layer_types": ["dense"] * dense + ["sparse"] * (layers - dense)}
    return {
        **kept,
        **(listed if kept.get("mlp_layer_types") else {}),
        "num_hidden_layers": layers,
        "first_k_dense_replace": dense,
        "num_nextn_predict_layers": 0,
    }


def _layers(config: Mapping[str, Any], flavor: str) -> tuple[int, int]:
    """How many layers the flavour has of this model, and how many of them are dense."""
    if flavor == DEBUG and config.get("first_k_dense_replace") == 0:
        return 1, 0
    return LAYERS[flavor]
