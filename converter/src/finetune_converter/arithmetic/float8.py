"""DeepSeek-V3's FP8: e4m3 values with one scale for every block of 128 x 128, W = q * weight_scale_inv.

Source: DeepSeek-V3 technical report (arXiv 2412.19437), section 3.3, and the model's config.json:
`quantization_config` {quant_method fp8, fmt e4m3, weight_block_size [128, 128]}. The last block of a ragged
matrix (576 rows) is smaller.
"""

import torch

from finetune_converter.arithmetic.block_format import BlockFormat

E4M3_MAX = 448.0


def dequantize(values: torch.Tensor, scales: torch.Tensor, block: BlockFormat) -> torch.Tensor:
    """fp32 [rows, columns] from e4m3 values of the same shape and scales [ceil(rows/128), ceil(columns/128)].

    The first row must be the first row of a block.
    """
    result, factor = _to_float(values)
    for index, wide in enumerate(_by_column(scales.float() * factor, result.shape[1], block)):
        result[index * block.rows : (index + 1) * block.rows].mul_(wide)
    return result


def _to_float(values: torch.Tensor) -> tuple[torch.Tensor, float]:
    """fp32, and the power of two that it lacks: five times as fast as torch's own conversion.

    e4m3's sign, exponent and mantissa, put where float16 has them, are the value / 2^8 (the exponents' biases
    are 7 and 15), subnormals included. Only NaN, all ones, is none there.
    """
    if values.dtype != torch.float8_e4m3fn or _has_nan(values):
        return values.float(), 1.0
    halves = values.view(torch.int8).to(torch.int16).bitwise_left_shift_(7).bitwise_and_(~0x4000)
    return halves.view(torch.float16).float(), 256.0


def _has_nan(values: torch.Tensor) -> bool:
    """Of e4m3: 0x7f and 0xff, the greatest codes as signed and as unsigned bytes."""
    if values.numel() == 0:
        return False
    return int(values.view(torch.int8).amax()) == 0x7F or int(values.view(torch.uint8).amax()) == 0xFF


def block_scales(matrix: torch.Tensor, block: BlockFormat) -> torch.Tensor:
    """fp32 scales of fp32 [rows, columns]: the block's greatest magnitude / 448; 1 for a block of zeros.

    A NaN or an infinity in a block makes its scale NaN or infinite: the caller checks.
    """
    by_row = [part.abs().amax(0) for part in torch.split(matrix, block.rows)]
    largest = torch.stack(by_row)
    padding = -largest.shape[1] % block.columns
    largest = torch.nn.functional.pad(largest, (0, padding))
    largest = largest.reshape(len(by_row), -1, block.columns).amax(2)
    scales = largest / E4M3_MAX
    # A subnormal quotient would lose bits, and zero would divide by zero.
    scales = torch.where(
        scales == 0, torch.ones_like(scales), scales.clamp(min=torch.finfo(torch.float32).tiny)
    )
    return torch.exp2(torch.ceil(torch.log2(scales))) if block.power_of_two else scales


def quantize(matrix: torch.Tensor, scales: torch.Tensor, block: BlockFormat) -> torch.Tensor:
    """e4m3 [rows, columns] of fp32 [rows, columns], rounded to nearest even. Overwrites `matrix`.

    The scales are those of `block_scales`: nothing is beyond 448 by more than rounding, and 464 rounds to it.
    """
    for index, wide in enumerate(_by_column(scales.float(), matrix.shape[1], block)):
        matrix[index * block.rows : (index + 1) * block.rows].div_(wide)
    return matrix.to(torch.float8_e4m3fn)


def _by_column(scales: torch.Tensor, columns: int, block: BlockFormat) -> torch.Tensor:
    """Each row of scales stretched to one scale per column: [block rows, columns]."""
    return scales.repeat_interleave(block.columns, dim=1)[:, :columns]
