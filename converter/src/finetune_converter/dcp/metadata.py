"""`.metadata` of a DCP folder: every tensor, its shape and where its chunks are."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_converter.dcp.inert_pickle import InertPickleError, Record, load
from finetune_converter.failure import Failure, Reason

NAME = ".metadata"
MAX_BYTES = 256 * 1024 * 1024
"""Some million chunks."""
REMEDY = "Give a step folder that torchtitan wrote, whole"

_CLASSES = (
    "Metadata", "TensorStorageMetadata", "ChunkStorageMetadata", "BytesStorageMetadata", "TensorProperties",
    "MetadataIndex", "StorageMeta", "_MEM_FORMAT_ENCODING",
)  # fmt: skip
_DTYPES = (
    "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2",
    "int64", "int32", "int16", "int8", "uint8", "bool",
)  # fmt: skip
_NAMES: dict[str, Any] = {
    **{f"torch.distributed.checkpoint.metadata.{name}": Record for name in _CLASSES},
    "torch.distributed.checkpoint.filesystem._StorageInfo": Record,
    **{f"torch.{name}": name for name in _DTYPES},
    "torch.Size": tuple,
    "torch.serialization._get_layout": Record,
    "pathlib.PosixPath": Record,
    "pathlib._local.PosixPath": Record,
    "collections.OrderedDict": dict,
}

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class StoredChunk:
    """A box of a tensor, and the bytes of a file that torch.save wrote for it."""

    offsets: Shape
    sizes: Shape
    file: str
    begin: int
    length: int


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    name: str
    shape: Shape
    chunks: tuple[StoredChunk, ...]


def read_metadata(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor by its name. Raises Failure(CheckpointInvalid)."""
    path = folder / NAME
    if not path.is_file():
        raise Failure(f"{path}: no such file", Reason.CHECKPOINT_INVALID, REMEDY)
    if path.stat().st_size > MAX_BYTES:
        raise Failure(f"{path}: larger than {MAX_BYTES} bytes", Reason.CHECKPOINT_INVALID, REMEDY)
    try:
        return {tensor.name: tensor for tensor in _tensors(load(path.read_bytes(), _NAMES))}
    except InertPickleError as error:
        raise Failure(f"{path}: {error}", Reason.CHECKPOINT_INVALID, REMEDY) from error


def _tensors(metadata: Any) -> Iterator[StoredTensor]:
    if not isinstance(metadata, Record):
        raise InertPickleError("not DCP's metadata")
    where = _where(metadata["storage_data"])
    for name, entry in _items(metadata["state_dict_metadata"]):
        if not isinstance(name, str) or not isinstance(entry, Record):
            raise InertPickleError(f"state_dict_metadata holds {name!r:.80}")
        if "chunks" in entry.attributes:
            chunks = tuple(_chunk(name, chunk, where) for chunk in _list(entry["chunks"]))
            shape = _shape(entry["size"])
            # Memory is taken by the shape: it must not be more than what the files hold.
            if sum(math.prod(chunk.sizes) for chunk in chunks) != math.prod(shape):
                raise InertPickleError(f"tensor {name!r}: its chunks do not fill {list(shape)}")
            yield StoredTensor(name=name, shape=shape, chunks=chunks)


def _where(storage_data: Any) -> dict[tuple[str, Shape], Record]:
    found = {}
    for index, info in _items(storage_data):
        if (
            isinstance(index, Record)
            and isinstance(info, Record)
            and index.attributes.get("offset") is not None
        ):
            found[str(index["fqn"]), _shape(index["offset"])] = info
    return found


def _chunk(name: str, chunk: Any, where: dict[tuple[str, Shape], Record]) -> StoredChunk:
    if not isinstance(chunk, Record):
        raise InertPickleError(f"tensor {name!r}: a chunk is none")
    offsets, sizes = _shape(chunk["offsets"]), _shape(chunk["sizes"])
    info = where.get((name, offsets))
    if info is None or len(offsets) != len(sizes):
        raise InertPickleError(f"tensor {name!r}: the chunk at {list(offsets)} is stored nowhere")
    if info.attributes.get("transform_descriptors"):
        raise InertPickleError(f"tensor {name!r}: its chunks are compressed")
    file, (begin, length) = info["relative_path"], _shape((info["offset"], info["length"]))
    plain = isinstance(file, str) and Path(file).name == file and not file.startswith(".")
    if math.prod(sizes) > length:
        raise InertPickleError(f"tensor {name!r}: {length} bytes are too few for {list(sizes)}")
    if not plain:
        raise InertPickleError(f"tensor {name!r}: {file!r:.80} is not the name of a file in this folder")
    return StoredChunk(offsets=offsets, sizes=sizes, file=file, begin=begin, length=length)


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if not isinstance(value, dict):
        raise InertPickleError("a map is none")
    yield from value.items()


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise InertPickleError("a list is none")
    return value


def _shape(value: Any) -> Shape:
    if not isinstance(value, tuple) or not all(type(size) is int and 0 <= size < 2**63 for size in value):
        raise InertPickleError(f"{value!r:.80} is not a shape")
    return value
