"""PEFT's names of adapter tensors, taken apart."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from finetune_converter.failure import Failure, Reason
from finetune_converter.model_files.header import TensorEntry

PREFIX = "base_model.model."
_LORA = re.compile(r"(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])(\.default)?(\.weight)?")
_WRAPPER = re.compile(r"\.(base_layer|modules_to_save(\.default)?)(?=\.[^.]+$)")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Both LoRA matrices of one module: a [rank, in], b [out, rank]."""

    module: str
    a: TensorEntry
    b: TensorEntry
    embedding: bool = False


def group_keys(path: Path, entries: Iterable[TensorEntry]) -> tuple[list[Pair], dict[str, TensorEntry]]:
    """LoRA pairs, and whole tensors by the base tensor they replace. Raises Failure(AdapterInvalid)."""
    sides: dict[str, dict[str, TensorEntry]] = {}
    embeddings: set[str] = set()
    saved: dict[str, TensorEntry] = {}
    for entry in entries:
        if not entry.name.startswith(PREFIX):
            raise _invalid(path, entry.name, f"the name does not begin with {PREFIX!r}")
        name = entry.name.removeprefix(PREFIX)
        lora = _LORA.fullmatch(name)
        if lora:
            _put(path, sides.setdefault(lora["module"], {}), lora["side"], entry)
            if lora["embedding"]:
                embeddings.add(lora["module"])
        elif ".lora_" in name:
            raise _invalid(path, entry.name, "not a lora_A or lora_B matrix")
        else:
            _put(path, saved, _WRAPPER.sub("", name), entry)
    return [_pair(path, module, found, module in embeddings) for module, found in sides.items()], saved


def _pair(path: Path, module: str, found: dict[str, TensorEntry], embedding: bool) -> Pair:
    if len(found) != 2:
        (side, entry), *_ = found.items()
        raise _invalid(path, entry.name, f"its lora_{'B' if side == 'A' else 'A'} is not there")
    return Pair(module=module, a=found["A"], b=found["B"], embedding=embedding)


def _put(path: Path, into: dict[str, TensorEntry], key: str, entry: TensorEntry) -> None:
    if key in into:
        raise _invalid(path, entry.name, f"says the same as {into[key].name!r}")
    into[key] = entry


def _invalid(path: Path, name: str, fault: str) -> Failure:
    return Failure(
        Reason.ADAPTER_INVALID, f"{path}: tensor {name!r}: {fault}", "Write the adapter again with PEFT"
    )
