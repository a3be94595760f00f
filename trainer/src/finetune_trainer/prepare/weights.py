"""Whether a folder's safetensors files are whole, by their headers: no tensor is read."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetune_trainer.contract.failure import DataError, Reason

INDEX = "model.safetensors.index.json"
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
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise incomplete(index, f"not an index of weights ({error!r})") from error
    for file in names.values():
        if "/" in file or not file.endswith(SUFFIX):
            raise incomplete(index, f"names {file!r}, which is no safetensors file of this folder")
    return names


def check_weights(folder: Path) -> None:
    """Raises DataError naming the first file that is missing, cut off, or lacks a tensor of the index."""
    files = weight_files(folder)
    if not files:
        raise incomplete(folder, "no *.safetensors; weights in pickle (*.bin, *.pt) are never read")
    tensors = {name: set(check_file(folder / name)) for name in files}
    if (folder / INDEX).exists():
        for tensor, file in read_weight_map(folder / INDEX).items():
            if tensor not in tensors[file]:
                raise incomplete(folder / file, f"{tensor} is missing, the index says it is there")


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
        raise incomplete(file, "missing, the index names it") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise incomplete(file, "not a safetensors file (its header cannot be read)") from error
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
        raise incomplete(file, "not a safetensors file")
    if 8 + length > size:
        raise incomplete(file, f"{size:,} bytes long, its header alone needs {8 + length:,}: truncated")
    return length


def incomplete(place: Path, problem: str) -> DataError:
    return DataError(
        f"{place}: {problem}",
        Reason.BASE_INCOMPLETE,
        remedy="Delete this file and run prepare, or copy it again",
    )
