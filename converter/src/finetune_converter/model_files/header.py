"""The header of a safetensors file, read as hostile input.

Format: 8 bytes little-endian length, a JSON object, the data. Everything is checked before any of it is
used: the length is bounded, offsets lie in the file and follow each other without gap or overlap (as the
format demands), and dtype * shape is the number of bytes.
"""

import json
import os
from dataclasses import dataclass
from typing import Any, NoReturn

from finetune_converter.failure import Failure, Reason
from finetune_converter.model_files.dtypes import BITS, bytes_of

MAX_HEADER_BYTES = 16 * 1024 * 1024
"""Some 100,000 tensors, all of DeepSeek-V3 in one file. Python needs up to 29 bytes for a hostile byte:
a process that has imported torch stays under 1 GB."""
MAX_DIMENSIONS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorEntry:
    """One tensor of one file. `begin` counts from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    nbytes: int

    @property
    def end(self) -> int:
        return self.begin + self.nbytes


@dataclass(frozen=True, kw_only=True)
class Header:
    tensors: dict[str, TensorEntry]
    """In the order of the data."""
    metadata: dict[str, str]
    data_begin: int
    file_bytes: int


class HeaderError(ValueError):
    """What is wrong with a header; `read_header` adds the file."""


def read_header(path: str | os.PathLike[str]) -> Header:
    """The checked header of a file. Raises Failure(CheckpointInvalid) naming file and tensor."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            return parse_header(file.read(8), size, file.read)
    except HeaderError as error:
        raise Failure(
            f"{os.fspath(path)}: {error}", Reason.CHECKPOINT_INVALID, "Fetch or write this file again"
        ) from error


_FOREIGN = {
    b"version ": "a Git LFS pointer (git lfs pull fetches the file)",
    b"<!DOCTYP": "an HTML page",
    b"<!doctyp": "an HTML page",
    b"<html la": "an HTML page",
}
"""What begins so is what an answer or a clone without its large files leaves under a weight file's name."""


def parse_header(prefix: bytes, file_bytes: int, read: Any) -> Header:
    """Header from the first 8 bytes, the file's size and `read(n)` for what follows. Raises HeaderError."""
    if len(prefix) < 8:
        _bad(f"truncated: {file_bytes} bytes are too few for a safetensors file")
    if prefix in _FOREIGN:
        _bad(f"{_FOREIGN[prefix]}, not the weights themselves")
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER_BYTES:
        _bad(f"header of {length} bytes is over the limit of {MAX_HEADER_BYTES}; not a safetensors file?")
    if 8 + length > file_bytes:
        _bad(f"truncated: the header needs {8 + length} bytes, the file has {file_bytes}")
    content = _decode(read(length))
    metadata = _metadata(content.pop("__metadata__", {}))
    entries = sorted(
        (_entry(name, value, 8 + length) for name, value in content.items()), key=lambda e: (e.begin, e.end)
    )
    _check_layout(entries, 8 + length, file_bytes)
    return Header(
        tensors={entry.name: entry for entry in entries},
        metadata=metadata,
        data_begin=8 + length,
        file_bytes=file_bytes,
    )


def _decode(raw: bytes) -> dict[str, Any]:
    try:
        content = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_bad_constant)
    except HeaderError:
        raise
    except RecursionError:
        _bad("header is nested too deep")
    except ValueError as error:
        _bad(f"header is not JSON: {str(error)[:120]}")
    if not isinstance(content, dict):
        _bad("header is not a JSON object")
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                _bad(f"duplicate key {_show(name)}")
            seen.add(name)
    return content


def _bad_constant(name: str) -> NoReturn:
    _bad(f"header holds {name}")


def _metadata(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        _bad("__metadata__ is not a map of strings")
    return dict(value)


def _entry(name: str, value: Any, data_begin: int) -> TensorEntry:
    if not isinstance(value, dict) or not {"dtype", "shape", "data_offsets"} <= value.keys():
        _bad(f"tensor {_show(name)}: entry needs dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        _bad(f"tensor {_show(name)}: unknown dtype {_show(dtype)}")
    if not _are_sizes(shape) or len(shape) > MAX_DIMENSIONS:
        _bad(f"tensor {_show(name)}: shape is not a list of sizes")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        _bad(f"tensor {_show(name)}: data_offsets are not [begin, end]")
    begin, nbytes = offsets[0], offsets[1] - offsets[0]
    if bytes_of(dtype, tuple(shape)) != nbytes:
        _bad(f"tensor {_show(name)}: {dtype} {list(shape)} does not fill its {nbytes} bytes")
    return TensorEntry(name=name, dtype=dtype, shape=tuple(shape), begin=data_begin + begin, nbytes=nbytes)


def _are_sizes(value: Any) -> bool:
    # type() and not isinstance: JSON's true is an int to Python. 2**63 bounds every later product.
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 2**63 for size in value)


def _check_layout(entries: list[TensorEntry], data_begin: int, file_bytes: int) -> None:
    position = data_begin
    for entry in entries:
        if entry.begin != position:
            fault = "overlaps the tensor before it" if entry.begin < position else "leaves a hole before it"
            _bad(f"tensor {_show(entry.name)}: {fault}")
        position = entry.end
        if position > file_bytes:
            _bad(
                f"tensor {_show(entry.name)}: truncated: it ends at byte {position}, the file at {file_bytes}"
            )
    if position != file_bytes:
        _bad(f"{file_bytes - position} bytes follow the last tensor")


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else text[:157] + "..."


def _bad(message: str) -> NoReturn:
    raise HeaderError(message)
