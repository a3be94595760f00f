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

# Shape suffixes, as torchtitan's: R = rows, E = experts, I and O = what a weight takes and gives, K = what is
# summed over, I or O; i, o and k = the blocks of these.

# How much of a layer's experts is copied, transposed, at once.
CHUNK_BYTES = 2**29
_PADDED = 4
"""cuBLAS reads the scales of a weight's blocks in fours: https://github.com/pytorch/pytorch/pull/166752."""


def linear(x: torch.Tensor, weight_OI: torch.Tensor, scales_oi: torch.Tensor) -> torch.Tensor:
    """`F.linear` of x (.., in) with a weight in FP8; the gradient goes to x only."""
    if not _in_whole_blocks(weight_OI, scales_oi) or x.numel() // x.shape[-1] % 16:
        return weight_only.linear(x, weight_OI, scales_oi)
    result: torch.Tensor = _Linear.apply(x.flatten(0, -2), weight_OI, scales_oi)
    return result.view(*x.shape[:-1], -1)


def grouped_linear(
    x_RI: torch.Tensor, weight_EOI: torch.Tensor, scales_Eoi: torch.Tensor, ends_E: torch.Tensor
) -> torch.Tensor:
    """Each expert's rows of `x_RI`, up to its end, by its weight in FP8."""
    if not _in_whole_blocks(weight_EOI, scales_Eoi):
        return weight_only.grouped_linear(x_RI, weight_EOI, scales_Eoi, ends_E)
    result: torch.Tensor = _GroupedLinear.apply(x_RI, weight_EOI, scales_Eoi, ends_E)
    return result


def _in_whole_blocks(weight: torch.Tensor, scales: torch.Tensor) -> bool:
    sizes = zip(weight.shape[-2:], scales.shape[-2:], strict=True)
    return all(size % BLOCK == 0 and block_size(size, count) == BLOCK for size, count in sizes)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_RI: torch.Tensor, weight_OI: torch.Tensor, scales_oi: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(weight_OI, scales_oi)
        return _multiply(*_quantize_rows(x_RI), weight_OI, scales_oi, False).to(x_RI.dtype)

    @staticmethod
    def backward(ctx: Any, gradient_RO: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        product = _multiply(*_quantize_rows(gradient_RO), *ctx.saved_tensors, True)
        return product.to(gradient_RO.dtype), None, None


class _GroupedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_RI: torch.Tensor, weight_EOI: torch.Tensor, scales_Eoi: torch.Tensor, ends_E: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(weight_EOI, scales_Eoi, ends_E)
        return _multiply_grouped(*_quantize_rows(x_RI), weight_EOI, scales_Eoi, ends_E, False).to(x_RI.dtype)

    @staticmethod
    def backward(ctx: Any, gradient_RO: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        product = _multiply_grouped(*_quantize_rows(gradient_RO), *ctx.saved_tensors, True)
        return product.to(gradient_RO.dtype), None, None, None


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
    values_RK: torch.Tensor,
    row_scales_kR: torch.Tensor,
    weight_OI: torch.Tensor,
    scales_oi: torch.Tensor,
    back: bool,
) -> torch.Tensor:
    """Rows by a weight, [R, I] to [R, O], or `back`. bfloat16 on GPUs, else float32."""
    from finetune_trainer.model.frozen.float8_kernels import transposed

    factor, blocks = weight_OI, scales_oi
    if back:  # FP8 products want both factors contiguous along what is summed over
        factor, blocks = transposed(weight_OI), scales_oi.t()
    blocks = F.pad(blocks, (0, -blocks.shape[1] % _PADDED)).contiguous().t()
    product: torch.Tensor = torch.ops.aten._scaled_mm_v2(
        values_RK,
        factor.t(),
        [row_scales_kR.t()],
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
    values_RK: torch.Tensor,
    row_scales_kR: torch.Tensor,
    weight_OI: torch.Tensor,
    scales_oi: torch.Tensor,
    back: bool,
) -> torch.Tensor:
    factor = weight_only.dequantized(weight_OI, scales_oi, torch.float32)
    return _dequantized_rows(values_RK, row_scales_kR) @ (factor if back else factor.t())


@_multiply.register_fake
def _(
    values_RK: torch.Tensor,
    _row_scales_kR: torch.Tensor,
    weight_OI: torch.Tensor,
    _scales_oi: torch.Tensor,
    back: bool,
) -> torch.Tensor:
    return values_RK.new_empty(
        len(values_RK), weight_OI.shape[1 if back else 0], dtype=_result_dtype(values_RK)
    )


@torch.library.custom_op("finetune_trainer::multiply_float8_grouped", mutates_args=(), device_types="cuda")
def _multiply_grouped(
    values_RK: torch.Tensor,
    row_scales_kR: torch.Tensor,
    weight_EOI: torch.Tensor,
    scales_Eoi: torch.Tensor,
    ends_E: torch.Tensor,
    back: bool,
) -> torch.Tensor:
    """Each expert's rows by its weight, as `_multiply` does it."""
    from finetune_trainer.model.frozen.float8_kernels import grouped_product, transposed

    columns = weight_EOI.shape[2 if back else 1]
    result = torch.empty(len(values_RK), columns, dtype=torch.bfloat16, device=values_RK.device)
    if not back:
        grouped_product(values_RK, row_scales_kR, weight_EOI, scales_Eoi, ends_E, result)
        return result
    step = max(BLOCK, columns * CHUNK_BYTES // max(weight_EOI.numel(), 1) // BLOCK * BLOCK)
    for start in range(0, columns, step):
        part, blocks = slice(start, start + step), slice(start // BLOCK, (start + step) // BLOCK)
        turned = transposed(weight_EOI[..., part])
        grouped_product(
            values_RK, row_scales_kR, turned, scales_Eoi[..., blocks].transpose(1, 2), ends_E, result[:, part]
        )
    return result


@_multiply_grouped.register_kernel("cpu")
def _(
    values_RK: torch.Tensor,
    row_scales_kR: torch.Tensor,
    weight_EOI: torch.Tensor,
    scales_Eoi: torch.Tensor,
    ends_E: torch.Tensor,
    back: bool,
) -> torch.Tensor:
    factor = weight_only.dequantized(weight_EOI, scales_Eoi, torch.float32)
    return F.grouped_mm(
        _dequantized_rows(values_RK, row_scales_kR), factor if back else factor.transpose(1, 2), offs=ends_E
    )


@_multiply_grouped.register_fake
def _(
    values_RK: torch.Tensor,
    _row_scales_kR: torch.Tensor,
    weight_EOI: torch.Tensor,
    _scales_Eoi: torch.Tensor,
    _ends_E: torch.Tensor,
    back: bool,
) -> torch.Tensor:
    return values_RK.new_empty(
        len(values_RK), weight_EOI.shape[2 if back else 1], dtype=_result_dtype(values_RK)
    )


def _dequantized_rows(values: torch.Tensor, row_scales: torch.Tensor) -> torch.Tensor:
    return values.float() * row_scales.t().repeat_interleave(BLOCK, dim=1)


def _result_dtype(values: torch.Tensor) -> torch.dtype:
    return torch.float32 if values.device.type == "cpu" else torch.bfloat16
