"""What every tensor of the merged model must be, said apart from the merge's plan: its type and its file."""

import json
import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
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
FIELD = "quantization_config"
_MADE_FLOAT8 = {
    "quant_method": "fp8",
    "fmt": "e4m3",
    "activation_scheme": "dynamic",
    "weight_block_size": [128, 128],
}
"""Of a base in bfloat16 that was exported in FP8: as DeepSeek-V3 is published."""
_DTYPES = ("dtype", "torch_dtype")
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
    free = {"auto_map"} if dtype == "base" else {"auto_map", FIELD, *_DTYPES}
    for name in sorted((config.keys() | base.keys()) - free):
        _check_field(where, name, config, base)
    if dtype != "base":
        _check_dtype(where, config, "float16" if dtype == "float16" else "bfloat16")
        made = {FIELD: base.get(FIELD, _MADE_FLOAT8)} if dtype == "float8" else {}
        _check_field(where, FIELD, config, made)
    _check_quantization(merged)


def _check_field(where: Path, name: str, config: Mapping[str, Any], base: Mapping[str, Any]) -> None:
    """Both say the same, in the same type: a loader takes its default for what is not there, not for null."""
    if name not in base and name in config:
        raise failed(f"{where}: {name} is {config[name]!r:.200}, and must not be there")
    if name not in config and name in base:
        raise failed(f"{where}: {name} is not there, and the base's is {base[name]!r:.200}")
    if json.dumps(config.get(name), sort_keys=True) != json.dumps(base.get(name), sort_keys=True):
        raise failed(f"{where}: {name} is {config[name]!r:.200}, not {base[name]!r:.200}")


def _check_dtype(where: Path, config: Mapping[str, Any], dtype: str) -> None:
    """Under both names, of which transformers 5 reads the first and others the second."""
    named = {name: config[name] for name in _DTYPES if name in config}
    for name, said in named.items() if named else {"dtype": None}.items():
        if said != dtype:
            raise failed(f"{where}: {name} is {said!r}, and the weights are {dtype}")


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
