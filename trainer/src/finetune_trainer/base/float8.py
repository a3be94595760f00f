"""DeepSeek-V3's FP8 weights: float8_e4m3 with one float32 scale a block of 128x128.

Source: DeepSeek-V3 technical report, https://arxiv.org/abs/2412.19437, section 3.3.2. A dimension that 128
does not divide (the 576 rows of kv_a_proj_with_mqa) ends in a smaller block.
"""

import torch

BLOCK = 128


def enclosing_blocks(part: tuple[slice, ...]) -> tuple[slice, ...]:
    """The blocks, counted in blocks, that a part of a weight touches."""
    return tuple(slice(piece.start // BLOCK, -(-piece.stop // BLOCK)) for piece in part)


def dequantize(weight: torch.Tensor, scales: torch.Tensor, part: tuple[slice, ...]) -> torch.Tensor:
    """float32 values of `weight` (rows, columns), `part` of a whole tensor, by the scales of its blocks."""
    rows, columns = (torch.arange(piece.start, piece.stop) // BLOCK - piece.start // BLOCK for piece in part)
    return weight.float() * scales.float()[rows][:, columns]
