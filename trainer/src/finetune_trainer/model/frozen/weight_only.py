"""Products with frozen weights kept in FP8: dequantised for each use, forward and backward, and not kept.

A weight (.., out, in) comes with one float32 scale a block of 128 x 128, as in DeepSeek-V3's checkpoints
(base/float8.py), or a copy of it for each part of a block that tensor parallelism cuts.
"""

from typing import Any

import torch
import torch.nn.functional as F

from finetune_trainer.base.float8 import block_size

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
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(weight, scales)
        return F.linear(x, dequantized(weight, scales, x.dtype))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        weight, scales = ctx.saved_tensors
        return gradient @ dequantized(weight, scales, gradient.dtype), None, None


class _GroupedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, scales: torch.Tensor, ends: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(weight, scales, ends)
        parts = [
            F.grouped_mm(
                x, dequantized(weight[:, rows], scales[:, blocks], x.dtype).transpose(-2, -1), offs=ends
            )
            for rows, blocks in _chunks(weight, scales, dim=1)
        ]
        return torch.cat(parts, dim=-1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        weight, scales, ends = ctx.saved_tensors
        parts = [
            F.grouped_mm(
                gradient,
                dequantized(weight[..., columns], scales[..., blocks], gradient.dtype),
                offs=ends,
            )
            for columns, blocks in _chunks(weight, scales, dim=2)
        ]
        return torch.cat(parts, dim=-1), None, None, None


def linear(x: torch.Tensor, weight: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """`F.linear` of x (.., in) with a weight (out, in) in FP8; the gradient goes to x only."""
    result: torch.Tensor = _Linear.apply(x, weight, scales)
    return result


def grouped_linear(
    x: torch.Tensor, weight: torch.Tensor, scales: torch.Tensor, ends: torch.Tensor
) -> torch.Tensor:
    """Each expert's rows of x (rows, in), up to its `ends`, by its weight of (experts, out, in) in FP8."""
    result: torch.Tensor = _GroupedLinear.apply(x, weight, scales, ends)
    return result


def _chunks(weight: torch.Tensor, scales: torch.Tensor, *, dim: int) -> list[tuple[slice, slice]]:
    """Slices of dimension `dim`, and of its blocks, of at most CHUNK_BYTES once in bfloat16."""
    size = weight.shape[dim]
    block = block_size(size, scales.shape[dim])
    whole = weight.numel() * 2
    step = max(block, size * CHUNK_BYTES // max(whole, 1) // block * block)
    return [
        (slice(start, min(start + step, size)), slice(start // block, -(-min(start + step, size) // block)))
        for start in range(0, size, step)
    ]
