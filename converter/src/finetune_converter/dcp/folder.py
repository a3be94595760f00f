"""A DCP folder, opened: whole tensors are put together from their chunks, some rows at a time."""

import math
import os
from pathlib import Path

import torch

from finetune_converter.dcp.chunk import RawChunk, locate
from finetune_converter.dcp.inert_pickle import InertPickleError
from finetune_converter.dcp.metadata import REMEDY, StoredChunk, StoredTensor, read_metadata
from finetune_converter.failure import Failure, Reason
from finetune_converter.model_files.torch_dtypes import TORCH


class DcpFolder:
    """Close when done."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tensors = read_metadata(path)
        self._files: dict[str, int] = {}
        self._located: dict[tuple[str, int], RawChunk] = {}

    def __enter__(self) -> "DcpFolder":
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._files.values():
            os.close(fd)

    def read(self, tensor: StoredTensor, start: int, stop: int) -> torch.Tensor:
        """fp32 [stop - start, ...]: entries [start, stop) of the first dimension. Raises Failure."""
        result = torch.empty(stop - start, *tensor.shape[1:])
        filled = 0
        for chunk in tensor.chunks:
            low, high = max(start, chunk.offsets[0]), min(stop, chunk.offsets[0] + chunk.sizes[0])
            if low < high:
                part = self._read(tensor.name, chunk, low - chunk.offsets[0], high - chunk.offsets[0])
                box = [slice(o, o + s) for o, s in zip(chunk.offsets[1:], chunk.sizes[1:], strict=True)]
                if result[(slice(low - start, high - start), *box)].shape != part.shape:
                    raise self._failed(tensor.name, "a chunk lies outside of it")
                result[(slice(low - start, high - start), *box)] = part
                filled += part.numel()
        if filled != result.numel():
            raise self._failed(tensor.name, f"its chunks fill {filled} of {result.numel()} values")
        return result

    def _read(self, name: str, chunk: StoredChunk, start: int, stop: int) -> torch.Tensor:
        try:
            raw, fd = self._locate(chunk), self._files[chunk.file]
        except (InertPickleError, OSError) as error:
            raise self._failed(name, f"{chunk.file}: {error}") from error
        row = raw.nbytes // chunk.sizes[0]
        buffer = bytearray((stop - start) * row)
        view = memoryview(buffer)
        while view:
            got = os.preadv(fd, [view], raw.begin + start * row + len(buffer) - len(view))
            if got == 0:
                raise self._failed(name, f"{chunk.file}: truncated")
            view = view[got:]
        if not buffer:
            return torch.empty(stop - start, *chunk.sizes[1:])
        return (
            torch.frombuffer(buffer, dtype=TORCH[raw.dtype]).reshape(stop - start, *chunk.sizes[1:]).float()
        )

    def _locate(self, chunk: StoredChunk) -> RawChunk:
        key = chunk.file, chunk.begin
        if chunk.file not in self._files:
            self._files[chunk.file] = os.open(self.path / chunk.file, os.O_RDONLY | os.O_CLOEXEC)
        if key not in self._located:
            self._located[key] = locate(self._files[chunk.file], chunk.begin, chunk.length, chunk.sizes)
        return self._located[key]

    def _failed(self, name: str, fault: str) -> Failure:
        return Failure(f"{self.path}: tensor {name!r}: {fault}", Reason.CHECKPOINT_INVALID, REMEDY)


def rows_of_band(tensor: StoredTensor, elements: int) -> int:
    """How many entries of the first dimension hold about so many elements."""
    return max(1, elements // max(1, math.prod(tensor.shape[1:])))
