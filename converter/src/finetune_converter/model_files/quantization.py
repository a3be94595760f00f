"""What a model's config.json says of its FP8 weights."""

from typing import Any

from finetune_converter.arithmetic.block_format import BlockFormat
from finetune_converter.failure import Failure, Reason

SCALE = "_scale_inv"
"""DeepSeek-V3 names the scales of `x.weight` `x.weight_scale_inv`."""


def block_format(config: dict[str, Any]) -> BlockFormat:
    """The base's FP8 blocks; DeepSeek-V3's when it has none. Raises Failure(BaseInvalid)."""
    quantization = config.get("quantization_config")
    if quantization is None:
        return BlockFormat()
    size = quantization.get("weight_block_size")
    if quantization.get("quant_method") != "fp8" or not isinstance(size, list) or len(size) != 2:
        raise Failure(
            Reason.BASE_INVALID,
            f"config.json: quantization_config is {quantization!r}; only fp8 in blocks can be merged",
            "Use the base in FP8 blocks or in bfloat16",
        )
    return BlockFormat(rows=size[0], columns=size[1], power_of_two=quantization.get("scale_fmt") == "ue8m0")
