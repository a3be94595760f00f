"""Read slices of tensors from a folder of safetensors, each error naming file and tensor."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from finetune_trainer.base.float8 import (
    BLOCK,
    SCALE_SUFFIX,
    block_size,
    dequantize,
    enclosing_blocks,
    quantize,
)
from finetune_trainer.contract.failure import DataError, Reason

INDEX = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"
FLOAT8 = "F8_E4M3"
DTYPES = ("BF16", "F16", "F32", FLOAT8)
"""safetensors' names of the types that are read."""
_HOST = torch.device("cpu")


class BaseTensors:
    """The tensors of a Hugging Face checkpoint folder. Only what is asked for is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, Any] = {}
        self.bytes_read = 0

    def names(self) -> set[str]:
        """All tensors of the checkpoint's files, those that an index leaves out among them."""
        files = {SINGLE_FILE} if self._weight_map is None else set(self._weight_map.values())
        return {name for file in files for name in self._open(file).keys()}  # noqa: SIM118 (no mapping)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._slice(name).get_shape())

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        """Raise DataError unless tensor `name` is there, whole, with this shape (and a scale if in FP8)."""
        found = self.shape(name)
        if found != shape:
            raise self._error(
                Reason.BASE_INVALID,
                name,
                f"has shape {list(found)}, by config.json it is {list(shape)}",
                _FETCH_AGAIN,
            )
        if self._dtype(name) not in DTYPES:
            raise self._error(
                Reason.BASE_INVALID,
                name,
                f"is of type {self._dtype(name)}; {', '.join(DTYPES)} are read",
                "Use the model in bfloat16, or in DeepSeek's own FP8",
            )
        if self.is_float8(name):
            self._check_scale(name, shape)

    def read(self, name: str, part: tuple[slice, ...], device: torch.device = _HOST) -> torch.Tensor:
        """`part` of tensor `name`, in the file's dtype; FP8 comes in float32, dequantised on `device`."""
        if not self.is_float8(name):
            return self._read(name, part)
        scales = self._read(name + SCALE_SUFFIX, enclosing_blocks(part))
        return dequantize(self._read(name, part).to(device), scales.to(device), part)

    def read_float8(self, name: str, part: tuple[slice, slice], device: torch.device) -> torch.Tensor:
        """`part` of tensor `name` in FP8: the file's, or quantised from the whole blocks around it."""
        if self.is_float8(name):
            return self._read(name, part)
        rows, columns = _elements(enclosing_blocks(part))
        values, _ = quantize(self._read(name, (rows, columns)).to(device))
        row, column = part[0].start - rows.start, part[1].start - columns.start
        height, width = (piece.stop - piece.start for piece in part)
        return values[row : row + height, column : column + width]

    def read_scales(
        self, name: str, part: tuple[slice, slice], counts: tuple[int, ...], device: torch.device
    ) -> torch.Tensor:
        """`part` of the scales of tensor `name`: the file's, or those that `read_float8` quantises with.

        Where there are more than blocks, by `counts` a dimension, each part of a block has its own.
        """
        sizes = [block_size(size, count) for size, count in zip(self.shape(name), counts, strict=True)]
        rows, columns = (
            torch.arange(piece.start, piece.stop) * size // BLOCK
            for piece, size in zip(part, sizes, strict=True)
        )
        blocks = tuple(slice(int(numbers[0]), int(numbers[-1]) + 1) for numbers in (rows, columns))
        if self.is_float8(name):
            found = self._read(name + SCALE_SUFFIX, blocks)
        else:
            found = quantize(self._read(name, _elements(blocks)).to(device))[1]
        return found[rows - rows[0]][:, columns - columns[0]]

    def _read(self, name: str, part: tuple[slice, ...]) -> torch.Tensor:
        try:
            tensor: torch.Tensor = self._slice(name)[part]
            self.bytes_read += tensor.nbytes
        except (SafetensorError, OSError) as error:
            raise self._error(
                Reason.BASE_INCOMPLETE, name, f"cannot be read ({error})", _FETCH_AGAIN
            ) from error
        return tensor

    def is_float8(self, name: str) -> bool:
        """Whether tensor `name` is in FP8, with scales of its own."""
        return self._dtype(name) == FLOAT8

    def _dtype(self, name: str) -> str:
        return str(self._slice(name).get_dtype())

    def _check_scale(self, name: str, shape: tuple[int, ...]) -> None:
        blocks = tuple(-(-size // BLOCK) for size in shape)
        found = self.shape(name + SCALE_SUFFIX)
        if found != blocks:
            raise self._error(
                Reason.BASE_INVALID,
                name + SCALE_SUFFIX,
                f"has shape {list(found)}, {list(blocks)} blocks of {BLOCK}x{BLOCK} are needed",
                _FETCH_AGAIN,
            )

        if self._dtype(name + SCALE_SUFFIX) not in ("F32", "BF16"):
            raise self._error(
                Reason.BASE_INVALID,
                name + SCALE_SUFFIX,
                f"is of type {self._dtype(name + SCALE_SUFFIX)}; scales are F32",
                "Use the model in DeepSeek's own FP8, or in bfloat16",
            )

    def _slice(self, name: str) -> Any:
        try:
            return self._open(self.file_of(name)).get_slice(name)
        except SafetensorError as error:
            raise self._error(Reason.BASE_INCOMPLETE, name, "is missing", _FETCH_AGAIN) from error

    def file_of(self, name: str) -> str:
        if self._weight_map is None:
            return SINGLE_FILE
        if name not in self._weight_map:
            raise DataError(
                f"{self.folder / INDEX}: {name} is missing, which config.json promises",
                Reason.BASE_INVALID,
                remedy=_FETCH_AGAIN,
            )
        return self._weight_map[name]

    def _open(self, file: str) -> Any:
        if file not in self._files:
            try:
                self._files[file] = safe_open(self.folder / file, framework="pt")
            except (SafetensorError, OSError) as error:
                raise DataError(
                    f"{self.folder / file} is not a whole safetensors file ({error})",
                    Reason.BASE_INCOMPLETE,
                    remedy=_FETCH_AGAIN,
                ) from error
        return self._files[file]

    @cached_property
    def _weight_map(self) -> dict[str, str] | None:
        index = self.folder / INDEX
        if not index.exists():
            return None
        try:
            weight_map: dict[str, str] = json.loads(index.read_text())["weight_map"]
        except (ValueError, KeyError) as error:
            raise DataError(
                f"{index} has no weight_map ({error!r})", Reason.BASE_INCOMPLETE, remedy=_FETCH_AGAIN
            ) from error
        return weight_map

    def _error(self, reason: Reason, name: str, problem: str, remedy: str) -> DataError:
        file = self.file_of(name)
        return DataError(f"{self.folder / file}: {name} {problem}", reason, remedy=remedy)


_FETCH_AGAIN = "Delete the base model's folder and let prepare fetch it again"


def _elements(blocks: tuple[slice, ...]) -> tuple[slice, slice]:
    rows, columns = (slice(piece.start * BLOCK, piece.stop * BLOCK) for piece in blocks)
    return rows, columns
