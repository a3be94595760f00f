"""Tensors of a checkpoint that the model has no place for: they are a part of another model."""

import re
from collections.abc import Set

from finetune_trainer.base.float8 import SCALE_SUFFIX
from finetune_trainer.base.tensors import BaseTensors
from finetune_trainer.contract.failure import DataError, Reason

# Computed from config.json; old versions of transformers saved it.
_DERIVED = re.compile(r"model\.(?:layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")
_LAYER = re.compile(r"model\.layers\.(\d+)\.")

# What a tensor that nothing reads says about the model, by a part of its name.
_SIGNS = {
    ".indexer.": "DeepSeek-V3.2's sparse attention",
    ".bias": "biases",
    "_norm.weight": "norms that are not computed here",
    ".lora_": "an adapter that is not merged",
    ".base_layer.": "an adapter that is not merged",
    ".qweight": "AWQ or GPTQ weights",
    ".qzeros": "AWQ or GPTQ weights",
    ".weight_packed": "compressed-tensors weights",
    ".weight_scale": "FP8 or FP4 weights of another format",
    ".input_scale": "FP8 or FP4 weights of another format",
    "experts.gate_up_proj": "experts fused into one tensor",
    "experts.down_proj": "experts fused into one tensor",
}


def check_all_read(tensors: BaseTensors, read: Set[str], layers: int) -> None:
    """Raise DataError naming the first tensor that is not among `read` and has a part in the computation.

    Left alone are the scales of FP8 weights, and layers for multi-token prediction after the last one.
    """
    names = tensors.names()
    prediction = {_layer(name) for name in names if name.endswith(".eh_proj.weight")}
    for name in sorted(names - read):
        if name.removesuffix(SCALE_SUFFIX) in read or _DERIVED.fullmatch(name):
            continue
        layer = _layer(name)
        if layer is not None and layer >= layers and layer in prediction:
            continue
        raise DataError(
            f"{tensors.folder}: {name} has no place in the model{_sign(name, layer, layers)}",
            Reason.BASE_INVALID,
            remedy="Use a base whose weights are those that its config.json describes",
        )


def _layer(name: str) -> int | None:
    found = _LAYER.match(name)
    return int(found[1]) if found else None


def _sign(name: str, layer: int | None, layers: int) -> str:
    if layer is not None and layer >= layers:
        return f": config.json says {layers} layers"
    found = next((meaning for part, meaning in _SIGNS.items() if part in name), None)
    return f": {found}" if found else ""
