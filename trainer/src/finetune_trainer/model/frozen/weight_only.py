"""Products with frozen weights kept in FP8: dequantised for each use, forward and backward, and not kept.

A weight (.., out, in) comes with one float32 scale a block of 128 x 128, as in DeepSeek-V3's checkpoints
(base/float8.py), or a copy of it for each part of a block that tensor parallelism cuts.
"""

from typing import Any

import torch
import torch.nn.functional as F

from finetune_trainer.base.float8 import block_size

# Shape suffixes, as torchtitan's: R = rows, E = experts, I and O = what a weight takes and gives; i and o =
# the blocks of these.

# How much of a layer's experts is dequantised at once: 256 experts at 671B's widths are 7.5 GB in bfloat16.
CHUNK_BYTES = 2**30


def dequantized(weight: torch.Tensor, scales: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """`weight` (.., rows, columns) in `dtype`. Cut along whole blocks only."""
    rows, columns = (
        torch.arange(size, device=weight.device) // block_size(size, count)
        for size, count in zip(weight.shape[-2:], scales.shape[-2:], strict=True)
    )
    return (weight.float() * scales[..., rows, :][..., columns]).to(dtype)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight_OI: torch.Tensor, scales_oi: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(weight_OI, scales_oi)
        return F.linear(x, dequantized(weight_OI, scales_oi, x.dtype))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        weight_OI, scales_oi = ctx.saved_tensors
        return gradient @ dequantized(weight_OI, scales_oi, gradient.dtype), None, None


class _GroupedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_RI: torch.Tensor, weight_EOI: torch.Tensor, scales_Eoi: torch.Tensor, ends_E: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(weight_EOI, scales_Eoi, ends_E)
        parts = [
            F.grouped_mm(
                x_RI,
                dequantized(weight_EOI[:, rows], scales_Eoi[:, blocks], x_RI.dtype).transpose(-2, -1),
                offs=ends_E,
            )
            for rows, blocks in _chunks(weight_EOI, scales_Eoi, dim=1)
        ]
        return torch.cat(parts, dim=-1)

    @staticmethod
    def backward(ctx: Any, gradient_RO: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        weight_EOI, scales_Eoi, ends_E = ctx.saved_tensors
        parts = [
            F.grouped_mm(
                gradient_RO,
                dequantized(weight_EOI[..., columns], scales_Eoi[..., blocks], gradient_RO.dtype),
                offs=ends_E,
            )
            for columns, blocks in _chunks(weight_EOI, scales_Eoi, dim=2)
        ]
        return torch.cat(parts, dim=-1), None, None, None


def linear(x: torch.Tensor, weight_OI: torch.Tensor, scales_oi: torch.Tensor) -> torch.Tensor:
    """`F.linear` of x (.., in) with a weight in FP8; the gradient goes to x only."""
    result: torch.Tensor = _Linear.apply(x, weight_OI, scales_oi)
    return result


def grouped_linear(
    x_RI: torch.Tensor, weight_EOI: torch.Tensor, scales_Eoi: torch.Tensor, ends_E: torch.Tensor
) -> torch.Tensor:
    """Each expert's rows of `x_RI`, up to its end, by its weight in FP8."""
    result: torch.Tensor = _GroupedLinear.apply(x_RI, weight_EOI, scales_Eoi, ends_E)
    return result


def _chunks(weight_EOI: torch.Tensor, scales_Eoi: torch.Tensor, *, dim: int) -> list[tuple[slice, slice]]:
    """Slices of dimension `dim`, and of its blocks, of at most CHUNK_BYTES once in bfloat16."""
    size = weight_EOI.shape[dim]
    block = block_size(size, scales_Eoi.shape[dim])
    whole = weight_EOI.numel() * 2
    step = max(block, size * CHUNK_BYTES // max(whole, 1) // block * block)
    return [
        (slice(start, min(start + step, size)), slice(start // block, -(-min(start + step, size) // block)))
        for start in range(0, size, step)
    ]
