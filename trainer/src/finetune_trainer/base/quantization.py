"""Which quantised weights are read: DeepSeek's own FP8. Others are named, with what to convert to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetune_trainer.base.float8 import BLOCK
from finetune_trainer.contract.failure import DataError, Reason

OTHERS = {
    "awq": "AWQ",
    "gptq": "GPTQ",
    "gptq_marlin": "GPTQ",
    "awq_marlin": "AWQ",
    "auto-round": "AutoRound",
    "autoround": "AutoRound",
    "intel/auto-round": "AutoRound",
    "bitsandbytes": "bitsandbytes",
    "bnb": "bitsandbytes",
    "compressed-tensors": "compressed-tensors",
    "modelopt": "NVIDIA ModelOpt (NVFP4 or FP8)",
    "modelopt_fp4": "NVFP4",
    "nvfp4": "NVFP4",
    "mxfp4": "MXFP4",
    "fbgemm_fp8": "FBGEMM's FP8",
    "torchao": "torchao",
    "hqq": "HQQ",
    "quark": "AMD Quark",
    "gguf": "GGUF",
    "aqlm": "AQLM",
    "vptq": "VPTQ",
    "quanto": "quanto",
    "eetq": "EETQ",
    "finegrained_fp8": "FP8",
}

_REMEDY = (
    f"Use the model in bfloat16, or in DeepSeek's own FP8 (blocks of {BLOCK}x{BLOCK}, float32 scales), from "
    "which this one was made; quantise the merged model again"
)


def check_quantization(config: Mapping[str, Any], file: Path) -> None:
    """Raise DataError unless a config.json's weights are not quantised, or are in DeepSeek's FP8."""
    if config.get("compression_config"):
        raise _refused(file, "compression_config", "the weights are in compressed-tensors")
    found = config.get("quantization_config")
    if found is None:
        return
    if not isinstance(found, dict):
        raise _refused(file, "quantization_config", f"is {found!r}, which is no object")
    _check_method(found, file)
    expected = {"weight_block_size": [BLOCK, BLOCK], "fmt": "e4m3"}
    for name, value in expected.items():
        if found.get(name, None if name == "weight_block_size" else value) != value:
            raise _refused(
                file, f"quantization_config.{name}", f"is {found.get(name)!r}, only {value!r} is read"
            )


def _check_method(found: Mapping[str, Any], file: Path) -> None:
    method = str(found.get("quant_method") or found.get("quant_algo") or found.get("quant_type") or "missing")
    if method.lower() == "fp8":
        return
    named = OTHERS.get(method.lower(), f"quantised by {method!r}")
    kinds = str(found.get("quant_algo") or found.get("format") or found.get("bits") or "")
    detail = f" ({kinds})" if kinds and kinds.lower() != method.lower() else ""
    raise _refused(file, "quantization_config.quant_method", f"the weights are {named}{detail}")


def check_side_files(folder: Path) -> None:
    """Raise DataError for a quantisation that is described beside config.json."""
    for name, format_name in (
        ("hf_quant_config.json", "NVIDIA ModelOpt (NVFP4 or FP8)"),
        ("quantize_config.json", "GPTQ"),
        ("quant_config.json", "AWQ"),
    ):
        if (folder / name).exists():
            raise _refused(folder / name, "is there", f"the weights are {format_name}")


def _refused(file: Path, field: str, problem: str) -> DataError:
    return DataError(f"{file}: {field}: {problem}", Reason.BASE_INVALID, remedy=_REMEDY)
