"""An adapter folder, opened and matched to the base it is for."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune_converter.adapter.config import AdapterConfig, read_adapter_config
from finetune_converter.adapter.fused_experts import fused_updates
from finetune_converter.adapter.names import Pair, group_keys
from finetune_converter.adapter.updates import LowRank, Replacement, Update, whole
from finetune_converter.failure import Failure, Reason
from finetune_converter.model_files.dtypes import COMPUTED
from finetune_converter.model_files.header import TensorEntry
from finetune_converter.model_files.tensor_file import TensorFile

WEIGHTS = "adapter_model.safetensors"
Shapes = Mapping[str, tuple[int, ...]]

_REMEDY = "Use the base model that the adapter was trained on"


@dataclass(frozen=True, kw_only=True)
class Adapter:
    file: TensorFile
    config: AdapterConfig
    updates: Mapping[str, Update]
    """By the name of the base tensor."""


def open_adapter(folder: Path, base_shapes: Shapes) -> Adapter:
    """Raises Failure(AdapterMissing, AdapterInvalid or AdapterMismatch) naming the tensor and both shapes."""
    if not (folder / WEIGHTS).is_file():
        raise missing_adapter(folder)
    config = read_adapter_config(folder)
    file = TensorFile(folder / WEIGHTS)
    try:
        return Adapter(file=file, config=config, updates=match(file, config, base_shapes))
    except BaseException:
        file.close()
        raise


def missing_adapter(folder: Path) -> Failure:
    """What to say of a folder without weights that can be read."""
    if (folder / "adapter_model.bin").is_file():
        return Failure(
            Reason.ADAPTER_INVALID,
            f"{folder / 'adapter_model.bin'}: pickle weights can run code and are never read",
            "Save the adapter again with safe_serialization=True",
        )
    return Failure(
        Reason.ADAPTER_MISSING,
        f"{folder / WEIGHTS}: no such file",
        "Finish the training, or give the adapter's folder",
    )


def match(file: TensorFile, config: AdapterConfig, base_shapes: Shapes) -> dict[str, Update]:
    """Base tensor -> update, for every key of the adapter; a key that fits nothing is an error."""
    pairs, saved = group_keys(file.path, file.header.tensors.values())
    updates: dict[str, Update] = {}
    for pair in pairs:
        for name, update in _updates_of(file.path, pair, config, base_shapes).items():
            _add(file.path, updates, name, update, base_shapes)
    for name, entry in saved.items():
        if name not in base_shapes:
            raise _no_match(file.path, entry.name, name, base_shapes)
        _add(file.path, updates, name, Replacement(entry=entry), base_shapes)
    if not updates:
        raise Failure(Reason.ADAPTER_INVALID, f"{file.path}: holds no tensors", "Train the adapter first")
    return updates


def _updates_of(path: Path, pair: Pair, config: AdapterConfig, shapes: Shapes) -> dict[str, LowRank]:
    for entry in (pair.a, pair.b):
        if len(entry.shape) != 2 or entry.dtype not in COMPUTED:
            raise Failure(
                Reason.ADAPTER_INVALID,
                f"{path}: tensor {entry.name!r}: {entry.dtype} {list(entry.shape)} is not a LoRA matrix",
                "Write the adapter again",
            )
    target = f"{pair.module}.weight"
    if target not in shapes:
        fused = fused_updates(path, pair, config, shapes)
        if fused:
            return fused
        raise _no_match(path, pair.a.name, target, shapes)
    rank = _rank(path, pair, config.rank_of(pair.module))
    scale = config.scale_of(pair.module, rank)
    update = LowRank(a=whole(pair.a), b=whole(pair.b), scale=scale, transposed=pair.embedding)
    return {target: update}


def _rank(path: Path, pair: Pair, expected: int) -> int:
    rank_a, rank_b = pair.a.shape[0], pair.b.shape[1]
    if rank_a == rank_b == expected:
        return rank_a
    raise Failure(
        Reason.ADAPTER_MISMATCH,
        f"{path}: tensors {pair.a.name!r} {list(pair.a.shape)} and {pair.b.name!r} {list(pair.b.shape)} "
        f"are not of rank {expected}, which adapter_config.json gives them",
        "Keep adapter_config.json and adapter_model.safetensors of the same training together",
    )


def _add(path: Path, updates: dict[str, Update], name: str, update: Update, shapes: Shapes) -> None:
    shape = update.entry.shape if isinstance(update, Replacement) else update.shape
    key = update.entry.name if isinstance(update, Replacement) else update.a.entry.name
    if name in updates:
        raise Failure(
            Reason.ADAPTER_INVALID,
            f"{path}: tensor {key!r}: a second update of {name!r}",
            "Write the adapter again",
        )
    if shape != shapes[name]:
        raise Failure(
            Reason.ADAPTER_MISMATCH,
            f"{path}: tensor {key!r}: its update is {list(shape)}, "
            f"the base's {name!r} is {list(shapes[name])}",
            _REMEDY,
        )
    updates[name] = update


def _no_match(path: Path, key: str, target: str, shapes: Shapes) -> Failure:
    leaf = ".".join(target.split(".")[-2:])
    near = difflib.get_close_matches(target, [name for name in shapes if name.endswith(leaf)][:2000], n=1)
    hint = f"; the nearest is {near[0]!r}" if near else ""
    return Failure(
        Reason.ADAPTER_MISMATCH, f"{path}: tensor {key!r}: the base has no {target!r}{hint}", _REMEDY
    )


def entry_shapes(entries: Mapping[str, TensorEntry]) -> dict[str, tuple[int, ...]]:
    return {name: entry.shape for name, entry in entries.items()}
