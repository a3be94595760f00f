"""A base's debug form: all its widths, its first dense layer and its first layer of experts, nothing else.

Cut out of the base's own weights, in its own types: it trains, merges and serves as the base does.
"""

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

from finetune_trainer.base.hf_config import CONFIG, read_hf_config, shape_of_base
from finetune_trainer.contract.failure import DataError, Reason
from finetune_trainer.contract.whole_file import write_json
from finetune_trainer.prepare.weights import INDEX, SUFFIX, read_weight_map, weight_files

_LAYER = re.compile(r"model\.layers\.(\d+)\.")


def describe_debug_form(original: Path, folder: Path, described: Iterable[str]) -> None:
    """Copy the files that describe `original`, by name, with the config.json of its debug form.

    Raises DataError for a config.json that is not computed with.
    """
    config = _debug_config(read_hf_config(original), _kept_layers(original))
    folder.mkdir(parents=True, exist_ok=True)
    for name in described:
        if name not in (CONFIG, INDEX):
            shutil.copy(original / name, folder / name)
    write_json(folder / CONFIG, config)


def files_of_debug_form(original: Path) -> list[str]:
    """The files of `original` that hold a tensor of its debug form, by its index; all where it has none."""
    if not (original / INDEX).exists():
        return weight_files(original)
    kept = _kept_layers(original)
    weight_map = read_weight_map(original / INDEX)
    return sorted({file for name, file in weight_map.items() if _new_name(name, kept) is not None})


def cut_debug_form(original: Path, folder: Path) -> None:
    """Write the tensors of the debug form into `folder`, a file for each of `original`'s that holds some.

    Takes the memory of what one file holds of it. Raises DataError for a file that cannot be read.
    """
    kept, files = _kept_layers(original), files_of_debug_form(original)
    weight_map: dict[str, str] = {}
    size = 0
    for number, file in enumerate(files, start=1):
        tensors = _kept_tensors(original / file, kept)
        name = f"model-{number:05d}-of-{len(files):05d}{SUFFIX}"
        save_file(tensors, folder / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, name)
        size += sum(tensor.nbytes for tensor in tensors.values())
    write_json(folder / INDEX, {"metadata": {"total_size": size}, "weight_map": weight_map})


def _kept_layers(original: Path) -> tuple[int, ...]:
    """The first dense layer, if there is one, and the first with experts."""
    dense = shape_of_base(original).first_k_dense_replace
    return (0, dense) if dense else (0,)


def _debug_config(config: Mapping[str, Any], kept: tuple[int, ...]) -> dict[str, Any]:
    changes: dict[str, Any] = {"num_hidden_layers": len(kept), "first_k_dense_replace": len(kept) - 1}
    changes |= {name: 0 for name in ("num_nextn_predict_layers", "num_mtp_layers") if name in config}
    if kinds := config.get("mlp_layer_types"):
        changes["mlp_layer_types"] = [kinds[layer] for layer in kept]
    return {**config, **changes}


def _new_name(name: str, kept: tuple[int, ...]) -> str | None:
    """A tensor's name in the debug form; None where it is not part of it."""
    found = _LAYER.match(name)
    if found is None:
        return name
    layer = int(found[1])
    return f"model.layers.{kept.index(layer)}.{name[found.end() :]}" if layer in kept else None


def _kept_tensors(file: Path, kept: tuple[int, ...]) -> dict[str, Any]:
    try:
        with safe_open(file, framework="pt") as tensors:
            names = {name: _new_name(name, kept) for name in tensors.keys()}  # noqa: SIM118 (no mapping)
            return {new: tensors.get_tensor(name) for name, new in names.items() if new is not None}
    except Exception as error:  # safetensors raises its own, and OSError
        raise DataError(
            f"{file}: cannot be read ({error})",
            Reason.BASE_INCOMPLETE,
            remedy="Delete this file and run prepare, or copy it again",
        ) from error
