"""What a model's config.json says of its FP8 weights, and which of them it excepts."""

import re
from collections.abc import Mapping
from typing import Any

from finetune_converter.arithmetic.block_format import BlockFormat
from finetune_converter.failure import Failure, Reason

SCALE = "_scale_inv"
"""DeepSeek-V3 names the scales of `x.weight` `x.weight_scale_inv`."""

FIELD = "quantization_config"
EXCEPTED = ("modules_to_not_convert", "ignored_layers")
"""Modules that stay as they are: transformers' name of the field, and vLLM's."""
_OTHERS = {
    "awq": "AWQ",
    "gptq": "GPTQ",
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed-tensors",
    "modelopt": "NVIDIA ModelOpt (NVFP4 or FP8)",
    "modelopt_fp4": "NVFP4",
    "mxfp4": "MXFP4",
    "fbgemm_fp8": "FBGEMM's FP8",
    "torchao": "torchao",
    "quark": "AMD Quark",
    "auto-round": "AutoRound",
}
_REMEDY = (
    "Use the base in bfloat16, or in DeepSeek's FP8: quant_method fp8, fmt e4m3, weight_block_size [128, 128]"
)
_READ = {"fmt": "e4m3", "scale_fmt": "ue8m0", "activation_scheme": "dynamic"}
_MAX_BLOCK = 2**16


def block_format(config: Mapping[str, Any]) -> BlockFormat:
    """The base's FP8 blocks; DeepSeek-V3's when it has none. Raises Failure(BaseInvalid) naming the field."""
    found = config.get(FIELD)
    if config.get("compression_config"):
        raise _refused("compression_config: the weights are in compressed-tensors")
    if found is None:
        return BlockFormat()
    if not isinstance(found, dict):
        raise _refused(f"{FIELD} is {found!r:.200}, which is no object")
    _check_method(found)
    size = found.get("weight_block_size")
    if size is None or not _is_block_size(size):
        fact = (
            "is missing: only FP8 in blocks is read" if size is None else f"is {size!r:.200}, not two sizes"
        )
        raise _refused(f"{FIELD}.weight_block_size {fact}")
    for name, known in _READ.items():
        if found.get(name) not in (known, None):
            raise _refused(f"{FIELD}.{name} is {found[name]!r:.200}, only {known!r} is read")
    for name in EXCEPTED:
        _check_excepted(name, found.get(name))
    return BlockFormat(rows=size[0], columns=size[1], power_of_two=found.get("scale_fmt") == "ue8m0")


def is_excepted(config: Mapping[str, Any], module: str) -> bool:
    """Whether some loader keeps a module out of FP8.

    transformers takes an entry for a beginning, an end or an expression (quantizers.quantizers_utils), vLLM
    for a whole name.
    """
    return any(re.match(name, module) or module.endswith(name) for name in _excepted(config))


def is_named(config: Mapping[str, Any], module: str) -> bool:
    """Whether every loader keeps it out: by its whole name, or by a whole tail of it."""
    return any(module == name or module.endswith(f".{name}") for name in _excepted(config))


def _excepted(config: Mapping[str, Any]) -> list[str]:
    found = config.get(FIELD) or {}
    return [name for field in EXCEPTED for name in found.get(field) or ()]


def _check_method(found: Mapping[str, Any]) -> None:
    method = str(found.get("quant_method") or found.get("quant_algo") or "missing")
    if method != "fp8":
        kind = found.get("quant_algo") or found.get("format")
        detail = f" ({kind})" if kind and kind != method else ""
        named = _OTHERS.get(method.lower())
        raise _refused(
            f"{FIELD}.quant_method is {method!r}{detail}" + (f": the weights are {named}" if named else "")
        )


def _is_block_size(size: object) -> bool:
    return (
        isinstance(size, list)
        and len(size) == 2
        and all(type(side) is int and 0 < side <= _MAX_BLOCK for side in size)
    )


def _check_excepted(name: str, listed: object) -> None:
    if listed is None:
        return
    if not isinstance(listed, list) or not all(isinstance(module, str) and module for module in listed):
        raise _refused(f"{FIELD}.{name} is {listed!r:.200}, not a list of modules")
    for module in listed:
        try:
            re.compile(module)
        except re.error as error:
            raise _refused(f"{FIELD}.{name}: {module!r}: {error}") from error


def _refused(fault: str) -> Failure:
    return Failure(f"config.json: {fault}", Reason.BASE_INVALID, _REMEDY)
