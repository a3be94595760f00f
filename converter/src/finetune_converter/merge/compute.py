"""Computed weights, a band of rows at a time, and their bytes in the dtype asked for."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from finetune_converter.adapter.factors import FactorReader
from finetune_converter.adapter.updates import LowRank, brought
from finetune_converter.arithmetic.block_format import BlockFormat
from finetune_converter.arithmetic.finite import all_finite
from finetune_converter.arithmetic.float8 import block_scales, quantize
from finetune_converter.failure import Failure, Reason
from finetune_converter.merge.plan import Weight
from finetune_converter.model_files.dequantized import DequantizedTensor
from finetune_converter.model_files.dtypes import FLOAT8
from finetune_converter.model_files.model_folder import ModelFolder
from finetune_converter.model_files.torch_dtypes import TORCH


@dataclass(frozen=True, kw_only=True)
class Band:
    """Rows [start, stop) of a weight, fp32 [stop - start, columns]."""

    start: int
    stop: int
    values: torch.Tensor
    before: torch.Tensor | None = None
    """The same rows without their update, where they were asked for."""


def merged_bands(
    weight: Weight,
    base: ModelFolder,
    factors: FactorReader | None,
    block: BlockFormat,
    *,
    before: bool = False,
) -> Iterator[Band]:
    """The weight in fp32, not rounded yet; with `before`, the base's rows beside it from the same read."""
    update = weight.update
    low_rank = factors.low_rank(update) if isinstance(update, LowRank) and factors else None
    replaced = brought(update)
    stored = DequantizedTensor(base, weight.source, weight.scales, block)
    for start, stop in stored.ranges():
        original = stored.rows(start, stop) if before else None
        if replaced and factors:
            values = factors.rows(replaced, start, stop)
        else:
            values = stored.rows(start, stop) if original is None else original.clone()
        if low_rank is not None:
            values = low_rank.add_to(values, start, stop)
        yield Band(start=start, stop=stop, values=values, before=original)


def rounded_bands(
    weight: Weight, base: ModelFolder, factors: FactorReader | None, block: BlockFormat
) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
    """The weight in its own dtype, band by band, each with its block scales when that is FP8."""
    # Files side by side use the cores; OpenMP threads inside each would only fight over them.
    torch.set_num_threads(1)
    for band in merged_bands(weight, base, factors, block):
        yield rounded(weight, band, block)


def rounded(weight: Weight, band: Band, block: BlockFormat) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The band in the weight's dtype, and its block scales when that is FP8. Overwrites the band.

    Raises Failure for a value that is not finite, and for one that overflows float16.
    """
    name, dtype = weight.spec.name, weight.spec.dtype
    scales = block_scales(band.values, block) if dtype == FLOAT8 else None
    if not all_finite(band.values if scales is None else scales):
        raise Failure(
            f"tensor {name!r}: the merged weight has values that are not finite",
            Reason.ADAPTER_INVALID,
            "Train again with a lower learning rate, from a checkpoint before the loss diverged",
        )
    if scales is not None:
        return quantize(band.values, scales, block), scales
    values = band.values.to(TORCH[dtype])
    if dtype == "F16" and not all_finite(values):
        raise Failure(
            f"tensor {name!r}: {band.values.abs().max():.6g} overflows float16, which ends at 65504",
            Reason.DTYPE_OVERFLOW,
            "Export bfloat16 or float8",
        )
    return values, None


def joined(scales: list[torch.Tensor]) -> torch.Tensor:
    """The scales of a whole weight, of those of its bands."""
    return torch.cat(scales)
