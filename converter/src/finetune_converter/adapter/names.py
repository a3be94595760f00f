"""PEFT's names of adapter tensors, taken apart."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from finetune_converter.failure import Failure, Reason
from finetune_converter.model_files.header import TensorEntry

PREFIX = "base_model.model."
_LORA = re.compile(r"(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])(\.default)?(\.weight)?")
_MAGNITUDE = re.compile(r"(?P<module>.+)\.lora_magnitude_vector(\.default)?(\.weight)?")
_SAVED = re.compile(r"\.modules_to_save(\.default)?(?=\.[^.]+$)")
_BASE_LAYER = re.compile(r"\.base_layer(?=\.[^.]+$)")
_COMPILED = "_orig_mod."
"""torch.compile puts it before the names of a compiled module."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Both LoRA matrices of one module: a [rank, in], b [out, rank]; of an embedding a is [rank, words]."""

    module: str
    a: TensorEntry
    b: TensorEntry
    embedding: bool = False
    magnitude: TensorEntry | None = None
    """DoRA's: the norm of each row of the updated weight, [out]."""


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The tensors of an adapter's file."""

    pairs: tuple[Pair, ...]
    saved: dict[str, TensorEntry]
    """Whole tensors, by the base tensor that each replaces."""
    base_layers: dict[str, TensorEntry]
    """The weights below an adapter, by their names in the base: PEFT saves those of embeddings and head."""


def group_keys(path: Path, entries: Iterable[TensorEntry]) -> Keys:
    """Raises Failure(AdapterInvalid) naming a key that is none of PEFT's, or that lacks its other half."""
    sides: dict[tuple[str, bool], dict[str, TensorEntry]] = {}
    saved: dict[str, TensorEntry] = {}
    base_layers: dict[str, TensorEntry] = {}
    magnitudes: dict[str, TensorEntry] = {}
    for entry in entries:
        if not entry.name.startswith(PREFIX):
            raise _invalid(path, entry.name, f"the name does not begin with {PREFIX!r}")
        name = entry.name.removeprefix(PREFIX).replace(_COMPILED, "")
        lora = _LORA.fullmatch(name)
        if lora:
            _put(path, sides.setdefault((lora["module"], bool(lora["embedding"])), {}), lora["side"], entry)
        elif magnitude := _MAGNITUDE.fullmatch(name):
            _put(path, magnitudes, magnitude["module"], entry)
        elif ".lora_" in name or ".token_adapter." in name:
            raise _invalid(path, entry.name, "not a lora_A or lora_B matrix")
        elif _BASE_LAYER.search(name):
            _put(path, base_layers, _BASE_LAYER.sub("", name), entry)
        else:
            _put(path, saved, _SAVED.sub("", name), entry)
    for module, entry in magnitudes.items():
        if (module, False) not in sides:
            raise _invalid(path, entry.name, "it has no lora_A and lora_B of a linear layer beside it")
    pairs = tuple(
        _pair(path, module, embedding, found, magnitudes.get(module))
        for (module, embedding), found in sides.items()
    )
    return Keys(pairs=pairs, saved=saved, base_layers=base_layers)


def _pair(
    path: Path,
    module: str,
    embedding: bool,
    found: dict[str, TensorEntry],
    magnitude: TensorEntry | None,
) -> Pair:
    if len(found) != 2:
        (side, entry), *_ = found.items()
        raise _invalid(path, entry.name, f"its lora_{'B' if side == 'A' else 'A'} is not there")
    return Pair(module=module, a=found["A"], b=found["B"], embedding=embedding, magnitude=magnitude)


def _put(path: Path, into: dict[str, TensorEntry], key: str, entry: TensorEntry) -> None:
    if key in into:
        raise _invalid(path, entry.name, f"says the same as {into[key].name!r}")
    into[key] = entry


def _invalid(path: Path, name: str, fault: str) -> Failure:
    return Failure(
        f"{path}: tensor {name!r}: {fault}", Reason.ADAPTER_INVALID, "Write the adapter again with PEFT"
    )
