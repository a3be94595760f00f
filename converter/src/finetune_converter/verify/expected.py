"""What every tensor of the merged model must be, said apart from the merge's plan: its type and its file."""

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from transformers.quantizers.quantizers_utils import should_convert_module

from finetune_converter.model_files.header import TensorEntry
from finetune_converter.model_files.model_folder import ModelFolder
from finetune_converter.verify.gate import failed
from finetune_converter.verify.stored import FLOAT8, SCALE, Blocks

_LEAVES = (
    "q_proj", "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj",
    "gate_proj", "up_proj", "down_proj",
)  # fmt: skip
# DeepSeek-V3 as it is published: of these modules the weights are FP8, and of no others.
_PROJECTION = re.compile(rf"model\.layers\.\d+\.(self_attn|mlp)\.(.+\.)?({'|'.join(_LEAVES)})\.weight")
_FLOATS = ("F32", "F16", "BF16", FLOAT8)
_ROUTER_BIAS = "e_score_correction_bias"
"""Stays as it is in every export: it decides between experts that are close."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A tensor of the merged model."""

    name: str
    file: str
    dtype: str
    shape: tuple[int, ...]
    same: bool
    """Whether it is the base's, byte for byte."""

    @property
    def is_scale(self) -> bool:
        return self.name.endswith(SCALE)


def expected_tensors(
    base: ModelFolder, changed: Container[str], dtype: str, blocks: Blocks
) -> dict[str, Expected]:
    """By name. dtype: `export.dtype`; changed: tensors that the adapter changes."""
    found = {}
    for name, located in base.tensors.items():
        if name.removesuffix(SCALE) in base.tensors and name.endswith(SCALE):
            continue  # comes with its weight
        entry, target = located.entry, _dtype(located.entry, dtype, base.config)
        same = name not in changed and target == entry.dtype
        found[name] = Expected(name=name, file=located.file, dtype=target, shape=entry.shape, same=same)
        if target == FLOAT8:
            scales = base.tensors.get(name + SCALE)
            found[name + SCALE] = Expected(
                name=name + SCALE,
                file=scales.file if scales else located.file,
                dtype=scales.entry.dtype if scales else "F32",
                shape=blocks.shape(entry.shape),
                same=same,
            )
    return found


def _dtype(entry: TensorEntry, dtype: str, config: Mapping[str, Any]) -> str:
    if dtype == "base" or entry.dtype not in _FLOATS or entry.name.endswith(_ROUTER_BIAS):
        return entry.dtype
    if dtype != "float8":
        return {"bfloat16": "BF16", "float16": "F16"}[dtype]
    if _PROJECTION.fullmatch(entry.name) and not is_ignored(entry.name, config):
        return FLOAT8
    return "BF16" if entry.dtype == "F32" else entry.dtype


def is_ignored(weight: str, config: Mapping[str, Any]) -> bool:
    """Whether quantization_config keeps a weight out, by transformers' own rule for its entries."""
    ignored = [*_ignored_modules(config)]
    return bool(ignored) and not should_convert_module(weight.removesuffix(".weight"), ignored)


def _ignored_modules(config: Mapping[str, Any]) -> Iterator[str]:
    quantization = config.get("quantization_config") or {}
    for key in ("modules_to_not_convert", "ignored_layers"):
        yield from quantization.get(key) or ()


def check_layout(expected: Mapping[str, Expected], merged: ModelFolder) -> None:
    """The merged folder holds exactly these tensors, each in its file, type and shape. Raises Failure."""
    for name in sorted(expected.keys() ^ merged.tensors.keys()):
        raise failed(f"tensor {name!r} is {'missing' if name in expected else 'not in the base'}")
    for name, tensor in expected.items():
        found = merged.tensors[name]
        if (found.file, found.entry.dtype, found.entry.shape) != (tensor.file, tensor.dtype, tensor.shape):
            entry = found.entry
            raise failed(
                f"{found.file}: tensor {name!r} is {entry.dtype} {list(entry.shape)}, "
                f"not {tensor.dtype} {list(tensor.shape)} in {tensor.file}"
            )


def check_config(base: Mapping[str, Any], merged: ModelFolder, dtype: str) -> None:
    """config.json is the base's, and what it says of types is what the files hold. Raises Failure."""
    config, where = merged.config, merged.path / "config.json"
    if "auto_map" in config:
        raise failed(f"{where}: auto_map names code, and a merged folder holds none")
    free = {"auto_map"} if dtype == "base" else {"auto_map", "quantization_config", "torch_dtype", "dtype"}
    for name in sorted((config.keys() | base.keys()) - free):
        if config.get(name) != base.get(name):
            raise failed(f"{where}: {name} is {config.get(name)!r}, not {base.get(name)!r}")
    if dtype != "base":
        named = config.get("dtype", config.get("torch_dtype"))
        if named != ("float16" if dtype == "float16" else "bfloat16"):
            raise failed(f"{where}: dtype is {named!r}, and the weights are {dtype}")
    _check_quantization(merged)


def _check_quantization(merged: ModelFolder) -> None:
    """A loader that trusts quantization_config finds the weights that it says.

    One that is not FP8 without being named as kept out ends vLLM with a KeyError for its scales.
    """
    where = f"{merged.path / 'config.json'}: quantization_config"
    quantization = merged.config.get("quantization_config")
    float8 = [name for name, located in merged.tensors.items() if located.entry.dtype == FLOAT8]
    if quantization is None:
        if float8:
            raise failed(f"{where} is missing, and {float8[0]!r} is FP8")
        return
    if quantization.get("quant_method") != "fp8" or quantization.get("fmt", "e4m3") != "e4m3":
        raise failed(f"{where} is {quantization!r}, and the weights are FP8 in e4m3")
    for name, located in merged.tensors.items():
        says = bool(_PROJECTION.fullmatch(name)) and not is_ignored(name, merged.config)
        if says and located.entry.dtype != FLOAT8:
            raise failed(f"{where} says that {name!r} is FP8; it is {located.entry.dtype}")
        if located.entry.dtype == FLOAT8 and is_ignored(name, merged.config):
            raise failed(f"{where} says that {name!r} is kept out; it is FP8")
