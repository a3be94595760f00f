"""Computed weights, a band of rows at a time, and their bytes in the dtype asked for."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from finetune_converter.adapter.adapter import Adapter
from finetune_converter.adapter.factors import read_low_rank
from finetune_converter.adapter.updates import LowRank, Replacement
from finetune_converter.arithmetic.bands import bands
from finetune_converter.arithmetic.block_format import BlockFormat
from finetune_converter.arithmetic.float8 import block_scales, dequantize, quantize
from finetune_converter.model_files.dtypes import FLOAT8
from finetune_converter.model_files.model_folder import ModelFolder
from finetune_converter.model_files.tensor_file import columns_of, rows_of
from finetune_converter.model_files.torch_dtypes import TORCH
from finetune_converter.failure import Failure, Reason
from finetune_converter.merge.plan import Weight


@dataclass(frozen=True, kw_only=True)
class Band:
    """Rows [start, stop) of a weight, fp32 [stop - start, columns]."""

    start: int
    stop: int
    values: torch.Tensor
    before: torch.Tensor | None = None
    """The same rows without their update, where they were asked for."""


def merged_bands(
    weight: Weight, base: ModelFolder, adapter: Adapter | None, block: BlockFormat, *, before: bool = False
) -> Iterator[Band]:
    """The weight in fp32, not rounded yet; with `before`, the base's rows beside it from the same read."""
    entry, update = weight.source.entry, weight.update
    low_rank = read_low_rank(update, adapter.file) if isinstance(update, LowRank) and adapter else None
    replaced = update.entry if isinstance(update, Replacement) else None
    scales = base.files[weight.scales.file].read(weight.scales.entry) if weight.scales else None

    def read(start: int, stop: int) -> torch.Tensor:
        values = base.files[weight.source.file].read_rows(entry, start, stop)
        if scales is None:
            return values.float()
        return dequantize(values, scales[start // block.rows : -(-stop // block.rows)], block)

    for start, stop in bands(rows_of(entry.shape), columns_of(entry.shape), block.rows):
        original = read(start, stop) if before else None
        if replaced and adapter:
            values = adapter.file.read_rows(replaced, start, stop).float()
        else:
            values = read(start, stop) if original is None else original.clone()
        if low_rank is not None:
            values = low_rank.add_to(values, start, stop)
        yield Band(start=start, stop=stop, values=values, before=original)


def rounded_bands(
    weight: Weight, base: ModelFolder, adapter: Adapter | None, block: BlockFormat
) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
    """The weight in its own dtype, band by band, each with its block scales when that is FP8."""
    # Files side by side use the cores; OpenMP threads inside each would only fight over them.
    torch.set_num_threads(1)
    for band in merged_bands(weight, base, adapter, block):
        yield rounded(weight, band, block)


def rounded(weight: Weight, band: Band, block: BlockFormat) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The band in the weight's dtype, and its block scales when that is FP8. Overwrites the band.

    Raises Failure for a value that is not finite, and for one that overflows float16.
    """
    name, dtype = weight.spec.name, weight.spec.dtype
    scales = block_scales(band.values, block) if dtype == FLOAT8 else None
    if not all_finite(band.values if scales is None else scales):
        raise Failure(
            Reason.ADAPTER_INVALID,
            f"tensor {name!r}: the merged weight has values that are not finite",
            "Train again with a lower learning rate, from a checkpoint before the loss diverged",
        )
    if scales is not None:
        return quantize(band.values, scales, block), scales
    values = band.values.to(TORCH[dtype])
    if dtype == "F16" and not all_finite(values):
        raise Failure(
            Reason.DTYPE_OVERFLOW,
            f"tensor {name!r}: {band.values.abs().max():.6g} overflows float16, which ends at 65504",
            "Export bfloat16 or float8",
        )
    return values, None


def all_finite(values: torch.Tensor) -> bool:
    """Whether there is no NaN and no infinity: a sum keeps them, at a tenth of the cost."""
    return math.isfinite(values.sum(dtype=torch.float32)) or bool(torch.isfinite(values).all())


def as_bytes(values: torch.Tensor) -> memoryview:
    """The tensor's memory, little endian as safetensors has it."""
    return memoryview(values.contiguous().view(torch.uint8).reshape(-1).numpy())  # type: ignore[arg-type]


def joined(scales: list[torch.Tensor]) -> torch.Tensor:
    """The scales of a whole weight, of those of its bands."""
    return torch.cat(scales)


def cast(values: torch.Tensor, dtype: str) -> torch.Tensor:
    """Values in a safetensors dtype."""
    return values.to(TORCH[dtype])
