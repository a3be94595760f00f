"""Whether a folder's safetensors files are whole, by their headers: no tensor is read."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetune_trainer.base.foreign_files import foreign_content
from finetune_trainer.contract.failure import DataError, Reason

INDEX = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"
SUFFIX = ".safetensors"
# As safetensors itself limits it.
LONGEST_HEADER = 100_000_000


def weight_files(folder: Path) -> list[str]:
    """The safetensors files of a model: those that its index names, or all there are."""
    index = folder / INDEX
    if index.exists():
        return sorted(set(read_weight_map(index).values()))
    return sorted(file.name for file in folder.glob(f"*{SUFFIX}"))


def read_weight_map(index: Path) -> Mapping[str, str]:
    """Tensor to file. Raises DataError if the index is damaged or names a file outside its folder."""
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = {name: str(file) for name, file in weight_map.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _foreign(index) or incomplete(index, f"not an index of weights ({error!r})") from error
    for file in names.values():
        if "/" in file or not file.endswith(SUFFIX):
            raise incomplete(index, f"names {file!r}, which is no safetensors file of this folder")
    return names


def check_weights(folder: Path) -> None:
    """Raises DataError naming the first file that is missing, cut off, or lacks a tensor of the index."""
    files = weight_files(folder)
    _check_layout(folder, files)
    tensors = {name: set(check_file(folder / name)) for name in files}
    if (folder / INDEX).exists():
        for tensor, file in read_weight_map(folder / INDEX).items():
            if tensor not in tensors[file]:
                raise incomplete(folder / file, f"{tensor} is missing, the index says it is there")


def _check_layout(folder: Path, files: list[str]) -> None:
    """Raises DataError unless the files are one whole model, the same to everything that loads it."""
    if not files:
        raise _without_safetensors(folder)
    if (folder / "adapter_config.json").exists():
        raise DataError(
            f"{folder}: holds an adapter (adapter_config.json), which transformers would add to the model",
            Reason.BASE_INVALID,
            remedy="Merge the adapter into the base, or take its files out of the folder",
        )
    if not (folder / INDEX).exists() and files != [SINGLE_FILE]:
        named = f"{len(files)} files of weights" if len(files) > 1 else files[0]
        raise DataError(
            f"{folder / INDEX}: missing, there are {named}",
            Reason.BASE_INCOMPLETE,
            remedy="Copy the index from where the weights are from; a single file is named " + SINGLE_FILE,
        )
    if (folder / SINGLE_FILE).exists() and SINGLE_FILE not in files:
        raise DataError(
            f"{folder / SINGLE_FILE}: {INDEX} does not name it, but transformers would load it alone",
            Reason.BASE_INVALID,
            remedy="Remove this file, or the index",
        )


def _without_safetensors(folder: Path) -> DataError:
    if gguf := next(iter(sorted(folder.glob("*.gguf"))), None):
        return _foreign(gguf) or incomplete(gguf, "is no safetensors")
    return DataError(
        f"{folder}: no *.safetensors; weights in pickle (*.bin, *.pt) are never read",
        Reason.BASE_INCOMPLETE,
        remedy="Save the model with transformers' save_pretrained, which writes safetensors",
    )


def check_file(file: Path) -> Mapping[str, Any]:
    """The header's tensors. Raises DataError unless the file is exactly as long as its header says."""
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            header = _header(file, stream.read(8), size)
            tensors = json.loads(stream.read(header))
        end = max(
            (tensor["data_offsets"][1] for name, tensor in tensors.items() if name != "__metadata__"),
            default=0,
        )
    except FileNotFoundError as error:
        raise _foreign(file) or incomplete(file, "missing, the index names it") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise _foreign(file) or incomplete(
            file, "not a safetensors file (its header cannot be read)"
        ) from error
    if size != 8 + header + end:
        raise incomplete(
            file, f"{size:,} bytes long, its header says {8 + header + end:,}: truncated or damaged"
        )
    return {name: tensor for name, tensor in tensors.items() if name != "__metadata__"}


def _header(file: Path, prefix: bytes, size: int) -> int:
    if len(prefix) < 8:
        raise incomplete(file, f"{size:,} bytes long: truncated")
    length: int = struct.unpack("<Q", prefix)[0]
    if length > LONGEST_HEADER:
        raise _foreign(file) or incomplete(file, "not a safetensors file")
    if 8 + length > size:
        raise incomplete(file, f"{size:,} bytes long, its header alone needs {8 + length:,}: truncated")
    return length


def _foreign(file: Path) -> DataError | None:
    """What the file is instead, if that is known."""
    found = foreign_content(file)
    return DataError(f"{file}: {found[0]}", Reason.BASE_INCOMPLETE, remedy=found[1]) if found else None


def incomplete(place: Path, problem: str) -> DataError:
    return DataError(
        f"{place}: {problem}",
        Reason.BASE_INCOMPLETE,
        remedy="Delete this file and run prepare, or copy it again",
    )
