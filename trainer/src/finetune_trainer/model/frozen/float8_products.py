"""Products in FP8 with weights frozen in FP8, as DeepSeek-V3 was trained and is served.

Rows, of activations and of gradients, are quantised in groups of 128 values with a scale each, weights are
in blocks of 128 x 128; sums are in float32. Source: DeepSeek-V3 technical report,
https://arxiv.org/abs/2412.19437, section 3.3. What is not in whole blocks is dequantised
(weight_only.py). CPUs compute the same in float32.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.functional import ScalingType

from finetune_trainer.base.float8 import BLOCK, LARGEST, LEAST, block_size
from finetune_trainer.model.frozen import weight_only

# How much of a layer's experts is copied, transposed, at once.
CHUNK_BYTES = 2**29
_PADDED = 4
"""cuBLAS reads the scales of a weight's blocks in fours: https://github.com/pytorch/pytorch/pull/166752."""


def linear(x: torch.Tensor, weight: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """`F.linear` of x (.., in) with a weight (out, in) in FP8; the gradient goes to x only."""
    if not _in_whole_blocks(weight, scales) or x.numel() // x.shape[-1] % 16:
        return weight_only.linear(x, weight, scales)
    result: torch.Tensor = _Linear.apply(x.flatten(0, -2), weight, scales)
    return result.view(*x.shape[:-1], -1)


def grouped_linear(
    x: torch.Tensor, weight: torch.Tensor, scales: torch.Tensor, ends: torch.Tensor
) -> torch.Tensor:
    """Each expert's rows of x (rows, in), up to its `ends`, by its weight of (experts, out, in) in FP8."""
    if not _in_whole_blocks(weight, scales):
        return weight_only.grouped_linear(x, weight, scales, ends)
    result: torch.Tensor = _GroupedLinear.apply(x, weight, scales, ends)
    return result


def _in_whole_blocks(weight: torch.Tensor, scales: torch.Tensor) -> bool:
    sizes = zip(weight.shape[-2:], scales.shape[-2:], strict=True)
    return all(size % BLOCK == 0 and block_size(size, count) == BLOCK for size, count in sizes)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(weight, scales)
        return _multiply(*_quantize_rows(x), weight, scales, False).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _multiply(*_quantize_rows(gradient), *ctx.saved_tensors, True).to(gradient.dtype), None, None


class _GroupedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, scales: torch.Tensor, ends: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(weight, scales, ends)
        return _multiply_grouped(*_quantize_rows(x), weight, scales, ends, False).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        product = _multiply_grouped(*_quantize_rows(gradient), *ctx.saved_tensors, True)
        return product.to(gradient.dtype), None, None, None


@torch.library.custom_op("finetune_trainer::quantize_rows", mutates_args=(), device_types="cuda")
def _quantize_rows(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """FP8 values of x (rows, columns), and (columns / 128, rows) scales, as cuBLAS wants them."""
    # It needs Triton, which CPUs have not.
    from finetune_trainer.model.frozen.float8_kernels import quantize_rows

    return quantize_rows(x)


@_quantize_rows.register_kernel("cpu")
def _(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    groups = x.float().reshape(len(x), -1, BLOCK)
    scales = groups.abs().amax(-1).clamp(min=LEAST) / LARGEST
    return (groups / scales[..., None]).to(torch.float8_e4m3fn).flatten(1), scales.t().contiguous()


@_quantize_rows.register_fake
def _(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    rows, columns = x.shape
    return (
        x.new_empty(rows, columns, dtype=torch.float8_e4m3fn),
        x.new_empty(columns // BLOCK, rows, dtype=torch.float32),
    )


@torch.library.custom_op("finetune_trainer::multiply_float8", mutates_args=(), device_types="cuda")
def _multiply(
    values: torch.Tensor, row_scales: torch.Tensor, weight: torch.Tensor, scales: torch.Tensor, back: bool
) -> torch.Tensor:
    """Rows by `weight` (out, in): (rows, in) to (rows, out), or `back`. bfloat16 on GPUs, else float32."""
    from finetune_trainer.model.frozen.float8_kernels import transposed

    if back:  # FP8 products want both factors contiguous along what is summed over
        weight, scales = transposed(weight), scales.t()
    blocks = F.pad(scales, (0, -scales.shape[1] % _PADDED)).contiguous().t()
    product: torch.Tensor = torch.ops.aten._scaled_mm_v2(
        values,
        weight.t(),
        [row_scales.t()],
        [ScalingType.BlockWise1x128.value],
        [],
        [blocks],
        [ScalingType.BlockWise128x128.value],
        [],
        None,
        torch.bfloat16,
    )
    return product


@_multiply.register_kernel("cpu")
def _(
    values: torch.Tensor, row_scales: torch.Tensor, weight: torch.Tensor, scales: torch.Tensor, back: bool
) -> torch.Tensor:
    factor = weight_only.dequantized(weight, scales, torch.float32)
    return _dequantized_rows(values, row_scales) @ (factor if back else factor.t())


@_multiply.register_fake
def _(
    values: torch.Tensor, _row_scales: torch.Tensor, weight: torch.Tensor, _scales: torch.Tensor, back: bool
) -> torch.Tensor:
    return values.new_empty(len(values), weight.shape[1 if back else 0], dtype=_result_dtype(values))


@torch.library.custom_op("finetune_trainer::multiply_float8_grouped", mutates_args=(), device_types="cuda")
def _multiply_grouped(
    values: torch.Tensor,
    row_scales: torch.Tensor,
    weight: torch.Tensor,
    scales: torch.Tensor,
    ends: torch.Tensor,
    back: bool,
) -> torch.Tensor:
    """Each expert's rows by its weight of (experts, out, in), as `_multiply` does it."""
    from finetune_trainer.model.frozen.float8_kernels import grouped_product, transposed

    columns = weight.shape[2 if back else 1]
    result = torch.empty(len(values), columns, dtype=torch.bfloat16, device=values.device)
    if not back:
        grouped_product(values, row_scales, weight, scales, ends, result)
        return result
    step = max(BLOCK, columns * CHUNK_BYTES // max(weight.numel(), 1) // BLOCK * BLOCK)
    for start in range(0, columns, step):
        part, blocks = slice(start, start + step), slice(start // BLOCK, (start + step) // BLOCK)
        turned = transposed(weight[..., part])
        grouped_product(
            values, row_scales, turned, scales[..., blocks].transpose(1, 2), ends, result[:, part]
        )
    return result


@_multiply_grouped.register_kernel("cpu")
def _(
    values: torch.Tensor,
    row_scales: torch.Tensor,
    weight: torch.Tensor,
    scales: torch.Tensor,
    ends: torch.Tensor,
    back: bool,
) -> torch.Tensor:
    factor = weight_only.dequantized(weight, scales, torch.float32)
    return F.grouped_mm(
        _dequantized_rows(values, row_scales), factor if back else factor.transpose(1, 2), offs=ends
    )


@_multiply_grouped.register_fake
def _(
    values: torch.Tensor,
    _row_scales: torch.Tensor,
    weight: torch.Tensor,
    _scales: torch.Tensor,
    _ends: torch.Tensor,
    back: bool,
) -> torch.Tensor:
    return values.new_empty(len(values), weight.shape[2 if back else 1], dtype=_result_dtype(values))


def _dequantized_rows(values: torch.Tensor, row_scales: torch.Tensor) -> torch.Tensor:
    return values.float() * row_scales.t().repeat_interleave(BLOCK, dim=1)


def _result_dtype(values: torch.Tensor) -> torch.dtype:
    return torch.float32 if values.device.type == "cpu" else torch.bfloat16
