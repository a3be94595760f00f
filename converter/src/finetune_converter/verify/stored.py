"""A stored tensor as a loader reads it: fp32, an FP8 one times its block scales, a band of rows at a time.

Written apart from the merge's own reading, which the gate is to check; both share the reader of safetensors.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from finetune_converter.model_files.model_folder import Located, ModelFolder
from finetune_converter.model_files.tensor_file import columns_of, rows_of
from finetune_converter.verify.gate import failed

SCALE = "_scale_inv"
FLOAT8 = "F8_E4M3"
BAND_ELEMENTS = 2**20
"""4 MiB in fp32."""

# Every code of e4m3 as a float, by torch: a look-up is several times as fast as its conversion on a CPU.
_E4M3 = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Rows and columns of an FP8 block, and whether its scale is a power of two."""

    rows: int
    columns: int
    power_of_two: bool

    def spread(self, scales: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        """[rows, columns]: of each element the scale of its block; scales [block rows, block columns]."""
        wide = scales.float().repeat_interleave(self.columns, dim=1)[:, :columns]
        return wide.repeat_interleave(self.rows, dim=0)[:rows]

    def shape(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Of the scales of a matrix."""
        return -(-shape[0] // self.rows), -(-shape[1] // self.columns)


def blocks_of(config: Mapping[str, Any]) -> Blocks:
    """What config.json says; 128 x 128 where it says nothing. Raises Failure."""
    quantization = config.get("quantization_config") or {}
    size = quantization.get("weight_block_size", [128, 128])
    if not isinstance(size, list) or len(size) != 2 or not all(type(n) is int and n > 0 for n in size):
        raise failed(f"config.json: quantization_config.weight_block_size is {size!r}, not [rows, columns]")
    return Blocks(rows=size[0], columns=size[1], power_of_two=quantization.get("scale_fmt") == "ue8m0")


class StoredTensor:
    """One tensor of a model folder."""

    def __init__(self, folder: ModelFolder, name: str, blocks: Blocks) -> None:
        """Reads the scales of an FP8 tensor. Raises Failure."""
        self.name, self._folder, self._blocks = name, folder, blocks
        self.located = folder.tensors[name]
        self.scales = _read_scales(folder, self.located, blocks) if self.is_float8 else None

    @property
    def is_float8(self) -> bool:
        return self.located.entry.dtype == FLOAT8

    @property
    def shape(self) -> tuple[int, ...]:
        return self.located.entry.shape

    def ranges(self) -> Iterator[tuple[int, int]]:
        """[start, stop) of bands of rows, each of whole blocks."""
        rows, columns = rows_of(self.shape), max(1, columns_of(self.shape))
        step = max(1, BAND_ELEMENTS // (columns * self._blocks.rows)) * self._blocks.rows
        return ((start, min(start + step, rows)) for start in range(0, rows, step))

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """fp32 [stop - start, columns]; `start` begins a block."""
        values = self._folder.files[self.located.file].read_rows(self.located.entry, start, stop)
        if self.scales is None:
            return values.float()
        codes = values.view(torch.uint8).to(torch.int32)
        wide = _E4M3.index_select(0, codes.flatten()).view(codes.shape)
        return wide * self._blocks.spread(self.block_scales(start, stop), *wide.shape)

    def block_scales(self, start: int, stop: int) -> torch.Tensor:
        """The scales of the blocks of rows [start, stop) of an FP8 tensor, as they are stored."""
        assert self.scales is not None
        return self.scales[start // self._blocks.rows : -(-stop // self._blocks.rows)]


def _read_scales(folder: ModelFolder, located: Located, blocks: Blocks) -> torch.Tensor:
    name = located.entry.name + SCALE
    found = folder.tensors.get(name)
    if found is None:
        raise failed(f"{located.file}: tensor {located.entry.name!r} is FP8 and has no {name!r}")
    shape = located.entry.shape
    if len(shape) != 2 or found.entry.shape != blocks.shape(shape):
        raise failed(
            f"{found.file}: tensor {name!r} is {list(found.entry.shape)}, not the scales of {list(shape)}"
        )
    scales = folder.files[found.file].read(found.entry)
    wide = scales.float()
    if not bool((torch.isfinite(wide) & (wide > 0)).all()):
        raise failed(f"{found.file}: tensor {name!r} holds scales that are not above 0")
    if blocks.power_of_two and not bool((torch.frexp(wide).mantissa == 0.5).all()):
        raise failed(
            f"{found.file}: tensor {name!r} holds scales that are no powers of two,"
            " which config.json says they are (scale_fmt ue8m0)"
        )
    return scales
