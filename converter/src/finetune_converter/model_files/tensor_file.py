"""Reads tensors of one safetensors file by pread: a band of rows at a time, never the whole file."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from finetune_converter.failure import Failure, Reason
from finetune_converter.model_files.header import Header, TensorEntry, read_header

if TYPE_CHECKING:
    import torch

COPY_BYTES = 8 * 1024 * 1024


class TensorFile:
    """An open safetensors file with its checked header. Threads may share one: pread has no position."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: Header = read_header(path)
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> "TensorFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, entry: TensorEntry) -> "torch.Tensor":
        """The whole tensor in its own dtype and shape."""
        return self.read_rows(entry, 0, rows_of(entry.shape)).reshape(entry.shape)

    def read_rows(self, entry: TensorEntry, start: int, stop: int) -> "torch.Tensor":
        """Rows [start, stop) as [rows, columns]; see `rows_of` for how a shape is seen as rows."""
        # A plan reads headers only, and need not wait until torch is imported.
        from finetune_converter.model_files.torch_dtypes import TORCH

        columns = columns_of(entry.shape)
        row_bytes = entry.nbytes // max(1, rows_of(entry.shape))
        raw = self._read_bytes(entry.begin + start * row_bytes, (stop - start) * row_bytes)
        return raw.view(TORCH[entry.dtype]).reshape(stop - start, columns)

    def chunks(self, begin: int, end: int, size: int = COPY_BYTES) -> "Iterator[torch.Tensor]":
        """The bytes [begin, end) of the file, a chunk at a time."""
        for position in range(begin, end, size):
            yield self._read_bytes(position, min(size, end - position))

    def _read_bytes(self, begin: int, count: int) -> "torch.Tensor":
        """`count` bytes from byte `begin` of the file, uint8 [count]."""
        import torch

        raw = torch.empty(count, dtype=torch.uint8)
        self.read_into(memoryview(raw.numpy()), begin)  # type: ignore[arg-type]
        return raw

    def read_into(self, buffer: memoryview, begin: int) -> None:
        """Fill the buffer with the bytes from byte `begin` of the file on."""
        done = 0
        while done < len(buffer):
            got = os.preadv(self._fd, [buffer[done:]], begin + done)
            if got == 0:
                raise Failure(
                    f"{self.path}: the file became shorter while it was read",
                    Reason.CHECKPOINT_INVALID,
                    "Let nothing write to the model folder, and fetch this file again",
                )
            done += got


def rows_of(shape: tuple[int, ...]) -> int:
    """Rows of a tensor seen as a matrix: its first dimension; a scalar has one."""
    return shape[0] if shape else 1


def columns_of(shape: tuple[int, ...]) -> int:
    """Columns of a tensor seen as a matrix: the product of all other dimensions."""
    return math.prod(shape[1:])
