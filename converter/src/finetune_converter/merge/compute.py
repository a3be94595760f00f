"""Computed weights, a band of rows at a time, and their bytes in the dtype asked for."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from finetune_converter.adapter.adapter import Adapter
from finetune_converter.adapter.updates import LowRank, Replacement
from finetune_converter.arithmetic.bands import bands
from finetune_converter.arithmetic.float8 import BlockFormat, block_scales, dequantize, quantize
from finetune_converter.checkpoint.dtypes import FLOAT8, TORCH
from finetune_converter.checkpoint.model_folder import ModelFolder
from finetune_converter.checkpoint.tensor_file import columns_of, rows_of
from finetune_converter.failure import Failure, Reason
from finetune_converter.merge.plan import Weight


@dataclass(frozen=True, kw_only=True)
class Band:
    """Rows [start, stop) of a weight, fp32 [stop - start, columns]."""

    start: int
    stop: int
    values: torch.Tensor


def merged_bands(
    weight: Weight, base: ModelFolder, adapter: Adapter | None, block: BlockFormat, *, updated: bool = True
) -> Iterator[Band]:
    """The weight in fp32, before it is rounded; without its update when `updated` is false."""
    entry = weight.source.entry
    update = weight.update if updated else None
    low_rank = update.read(adapter.file) if isinstance(update, LowRank) and adapter else None
    scales = base.files[weight.scales.file].read(weight.scales.entry) if weight.scales else None
    for start, stop in bands(rows_of(entry.shape), columns_of(entry.shape), block.rows):
        if isinstance(update, Replacement) and adapter:
            values = adapter.file.read_rows(update.entry, start, stop).float()
        else:
            values = base.files[weight.source.file].read_rows(entry, start, stop)
            values = (
                values.float()
                if scales is None
                else dequantize(values, scales[start // block.rows : -(-stop // block.rows)], block)
            )
        if low_rank is not None:
            values = low_rank.add_to(values, start, stop)
        yield Band(start=start, stop=stop, values=values)


def rounded(weight: Weight, band: Band, block: BlockFormat) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The band in the weight's dtype, and its block scales when that is FP8. Overwrites the band.

    Raises Failure for a value that is not finite, and for one that overflows float16.
    """
    name, dtype = weight.spec.name, weight.spec.dtype
    if not torch.isfinite(band.values).all():
        raise Failure(
            Reason.ADAPTER_INVALID,
            f"tensor {name!r}: the merged weight has values that are not finite",
            "Train again with a lower learning rate, from a checkpoint before the loss diverged",
        )
    if dtype == FLOAT8:
        scales = block_scales(band.values, block)
        return quantize(band.values, scales, block), scales
    values = band.values.to(TORCH[dtype])
    if dtype == "F16" and not torch.isfinite(values).all():
        raise Failure(
            Reason.DTYPE_OVERFLOW,
            f"tensor {name!r}: {band.values.abs().max():.6g} overflows float16, which ends at 65504",
            "Export bfloat16 or float8",
        )
    return values, None


def as_bytes(values: torch.Tensor) -> memoryview:
    """The tensor's memory, little endian as safetensors has it."""
    return memoryview(values.contiguous().view(torch.uint8).reshape(-1).numpy())  # type: ignore[arg-type]
