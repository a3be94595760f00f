"""One chunk of a tensor as torch.save wrote it: where its raw values are.

torch.save writes a zip of `data.pkl`, which says how the tensor is made of its storage, and `data/0`, the
storage itself, stored as it is. The values can so be read by pread, a band at a time.
"""

import io
import math
import os
import zipfile
from dataclasses import dataclass
from typing import Any

from finetune_converter.dcp.inert_pickle import InertPickleError, Record, load
from finetune_converter.model_files.dtypes import BITS

_STORAGES = {
    "torch.DoubleStorage": "F64",
    "torch.FloatStorage": "F32",
    "torch.HalfStorage": "F16",
    "torch.BFloat16Storage": "BF16",
}
_NAMES: dict[str, Any] = {
    **_STORAGES,
    "torch._utils._rebuild_tensor_v2": Record,
    "collections.OrderedDict": dict,
}
MAX_PICKLE_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class RawChunk:
    """Values of a box of a tensor, row-major: safetensors' dtype, and the byte of the file they begin at."""

    dtype: str
    begin: int
    nbytes: int


def locate(fd: int, begin: int, length: int, sizes: tuple[int, ...]) -> RawChunk:
    """Where the values are in bytes [begin, begin + length) of the file. Raises InertPickleError."""
    if begin + length > os.fstat(fd).st_size:
        raise InertPickleError(f"truncated: it ends before byte {begin + length}")
    try:
        with zipfile.ZipFile(_Slice(fd, begin, length)) as archive:
            entries = {name.partition("/")[2]: archive.getinfo(name) for name in archive.namelist()}
            pickled = entries["data.pkl"]
            if pickled.file_size > MAX_PICKLE_BYTES:
                raise InertPickleError("its data.pkl is too large for one tensor")
            tensor = load(archive.read(pickled), _NAMES)
            dtype, key, first = _layout(tensor, sizes)
            storage = entries[f"data/{key}"]
    except (
        zipfile.BadZipFile,
        KeyError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        OSError,
        ValueError,
    ) as error:
        raise InertPickleError(f"not a tensor that torch.save wrote: {str(error)[:160]}") from error
    width = BITS[dtype] // 8
    nbytes = math.prod(sizes) * width
    if storage.compress_type != zipfile.ZIP_STORED or first * width + nbytes > storage.file_size:
        raise InertPickleError("its storage is compressed or too short")
    # The local header, whose extra field pads the data: 30 bytes, the last four of them both lengths.
    local = os.pread(fd, 30, begin + storage.header_offset)
    skip = 30 + int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    position = storage.header_offset + skip + first * width
    if position + nbytes > length:
        raise InertPickleError("its storage ends outside of it")
    return RawChunk(dtype=dtype, begin=begin + position, nbytes=nbytes)


def _layout(tensor: Any, sizes: tuple[int, ...]) -> tuple[str, str, int]:
    """dtype, storage key and first element of a row-major tensor of these sizes."""
    if not isinstance(tensor, Record) or len(tensor.arguments) < 4:
        raise InertPickleError("not one tensor")
    storage, first, shape, stride = tensor.arguments[:4]
    if not isinstance(storage, tuple) or len(storage) != 5 or storage[0] != "storage":
        raise InertPickleError("a tensor without storage")
    dtype, key = storage[1], storage[2]
    expected = tuple(math.prod(sizes[axis + 1 :]) for axis in range(len(sizes)))
    row_major = all(s == e for s, e, size in zip(stride, expected, sizes, strict=True) if size > 1)
    if (
        dtype not in BITS
        or not isinstance(key, str)
        or shape != sizes
        or not row_major
        or type(first) is not int
    ):
        raise InertPickleError(
            f"a tensor of {shape!r:.80} with strides {stride!r:.80}, not {list(sizes)} row by row"
        )
    if first < 0:
        raise InertPickleError("a tensor that begins before its storage")
    return dtype, key, first


class _Slice(io.RawIOBase):
    """A part of a file as a file of its own, for zipfile."""

    def __init__(self, fd: int, begin: int, length: int) -> None:
        self._fd, self._begin, self._length, self._position = fd, begin, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        if start + offset < 0:
            raise ValueError("negative seek position")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._length - self._position)
        data = os.pread(self._fd, left if size < 0 else min(size, left), self._begin + self._position)
        self._position += len(data)
        return data
