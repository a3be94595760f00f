"""An adapter folder, opened and matched to the base it is for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_converter.adapter.completeness import check_saved_modules, lost_modules
from finetune_converter.adapter.config import AdapterConfig, read_adapter_config
from finetune_converter.adapter.matching import Shapes, match
from finetune_converter.adapter.names import group_keys
from finetune_converter.adapter.updates import Update
from finetune_converter.failure import Failure, Reason
from finetune_converter.model_files.header import TensorEntry
from finetune_converter.model_files.tensor_file import TensorFile

WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True, kw_only=True)
class Adapter:
    file: TensorFile
    config: AdapterConfig
    updates: Mapping[str, Update]
    """By the name of the base tensor."""
    notes: tuple[str, ...] = ()
    """What is to be said of the adapter, a sentence each."""


def open_adapter(folder: Path, base_shapes: Shapes, base_config: Mapping[str, Any]) -> Adapter:
    """Raises Failure(AdapterMissing, AdapterInvalid or AdapterMismatch) naming the tensor and both shapes."""
    if not (folder / WEIGHTS).is_file():
        raise missing_adapter(folder)
    config = read_adapter_config(folder)
    file = TensorFile(folder / WEIGHTS)
    try:
        keys = group_keys(file.path, file.header.tensors.values())
        updates = match(file.path, keys, config, base_shapes, base_config)
        check_saved_modules(file.path, keys, config, base_shapes, base_config)
        lost = lost_modules(file.path, keys, config, base_shapes, base_config)
        return Adapter(file=file, config=config, updates=updates, notes=(*config.notes, *lost))
    except BaseException:
        file.close()
        raise


def missing_adapter(folder: Path) -> Failure:
    """What to say of a folder without weights that can be read."""
    if (folder / "adapter_model.bin").is_file():
        return Failure(
            f"{folder / 'adapter_model.bin'}: pickle weights can run code and are never read",
            Reason.ADAPTER_INVALID,
            "Save the adapter again with safe_serialization=True",
        )
    return Failure(
        f"{folder / WEIGHTS}: no such file",
        Reason.ADAPTER_MISSING,
        "Finish the training, or give the adapter's folder",
    )


def entry_shapes(entries: Mapping[str, TensorEntry]) -> dict[str, tuple[int, ...]]:
    return {name: entry.shape for name, entry in entries.items()}
