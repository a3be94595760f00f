"""Which dtype every tensor of an exported model has, and the config.json that says so."""

import re
from enum import StrEnum
from typing import Any

from finetune_converter.arithmetic.block_format import BlockFormat
from finetune_converter.model_files.companions import CODE
from finetune_converter.model_files.dtypes import FLOAT8
from finetune_converter.model_files.header import TensorEntry

# As DeepSeek-V3 is published: every projection of attention, MLPs and experts is FP8; embeddings, head,
# norms, the router and the MTP layer's eh_proj are not.
_FLOAT8_WEIGHTS = re.compile(r".+\.(self_attn|mlp)\..*(_proj|kv_a_proj_with_mqa)\.weight")
# The router's bias decides between experts that are close: 8 bits of mantissa would decide otherwise.
_KEPT = re.compile(r".+\.e_score_correction_bias")


class Dtype(StrEnum):
    """`export.dtype` of the run file."""

    BASE = "base"
    BFLOAT16 = "bfloat16"
    FLOAT8 = "float8"
    FLOAT16 = "float16"


_PLAIN = {Dtype.BFLOAT16: "BF16", Dtype.FLOAT16: "F16"}
_FLOATS = ("F32", "F16", "BF16", FLOAT8)


def is_float8_weight(entry: TensorEntry) -> bool:
    """Whether DeepSeek-V3 is published with this tensor in FP8."""
    return len(entry.shape) == 2 and _FLOAT8_WEIGHTS.fullmatch(entry.name) is not None


def target_dtype(entry: TensorEntry, dtype: Dtype, *, quantised: bool) -> str:
    """The safetensors dtype of a tensor in the merged model; `quantised`: the base has an FP8 of its own.

    Then its own quantization_config goes on, and with it what that excepts: what is not FP8 stays out of it.
    """
    if dtype is Dtype.BASE or entry.dtype not in _FLOATS or _KEPT.fullmatch(entry.name):
        return entry.dtype
    if dtype is Dtype.FLOAT8:
        if entry.dtype == FLOAT8 or (not quantised and is_float8_weight(entry)):
            return FLOAT8
        return entry.dtype if entry.dtype != "F32" else "BF16"
    return _PLAIN[dtype]


def merged_config(config: dict[str, Any], dtype: Dtype, block: BlockFormat) -> dict[str, Any]:
    """config.json of the merged model.

    quantization_config beside bf16 weights breaks every loader, and without it FP8 weights are read as noise.
    Code is never carried over, so that nothing names it.
    """
    config = {name: value for name, value in config.items() if name != CODE}
    if dtype is Dtype.BASE:
        return config
    merged = {name: value for name, value in config.items() if name != "quantization_config"}
    for name in [name for name in ("dtype", "torch_dtype") if name in config] or ["torch_dtype"]:
        merged[name] = "float16" if dtype is Dtype.FLOAT16 else "bfloat16"
    if dtype is Dtype.FLOAT8:
        merged["quantization_config"] = config.get("quantization_config") or {
            "activation_scheme": "dynamic",
            "fmt": "e4m3",
            "quant_method": "fp8",
            "weight_block_size": [block.rows, block.columns],
        }
    return merged
