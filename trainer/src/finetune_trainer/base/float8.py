"""DeepSeek-V3's FP8 weights: float8_e4m3 with one float32 scale a block of 128x128.

Source: DeepSeek-V3 technical report, https://arxiv.org/abs/2412.19437, section 3.3.2. A dimension that 128
does not divide (the 576 rows of kv_a_proj_with_mqa) ends in a smaller block.
"""

import torch
import torch.nn.functional as F

BLOCK = 128
BLOCKS = (128, 64, 32, 16, 8, 4, 2, 1)
"""Of these sizes are parts of a block, each with a copy of its scale, where tensor parallelism cuts it."""
SCALE_SUFFIX = "_scale_inv"
LARGEST = torch.finfo(torch.float8_e4m3fn).max
LEAST = 1e-12
"""What a group of activations is scaled by at least, as if its largest value were that: all may be zeros."""


def block_size(size: int, scales: int) -> int:
    """How much of a dimension of `size` shares one of its `scales`: 128, or less where ranks cut it finer."""
    return next(block for block in BLOCKS if -(-size // block) == scales)


def enclosing_blocks(part: tuple[slice, ...]) -> tuple[slice, ...]:
    """The blocks, counted in blocks, that a part of a weight touches."""
    return tuple(slice(piece.start // BLOCK, -(-piece.stop // BLOCK)) for piece in part)


def dequantize(weight: torch.Tensor, scales: torch.Tensor, part: tuple[slice, ...]) -> torch.Tensor:
    """float32 values of `weight` (rows, columns), `part` of a whole tensor, by the scales of its blocks.

    On the device that both are on.
    """
    rows, columns = (torch.arange(piece.start, piece.stop) // BLOCK - piece.start // BLOCK for piece in part)
    columns = columns.to(scales.device)
    values = weight.float()
    # Band by band of rows, in place: a scale for every value would be as large as the values.
    bands = torch.split(values, torch.bincount(rows).tolist())
    for band, scale in zip(bands, scales.float()[:, columns], strict=True):
        band.mul_(scale)
    return values


def quantize(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """FP8 values of `weight` (rows, columns), and the scales that take each block's largest to FP8's."""
    rows, columns = weight.shape
    padded = F.pad(weight.float(), (0, -columns % BLOCK, 0, -rows % BLOCK))
    blocks = padded.view(len(padded) // BLOCK, BLOCK, -1, BLOCK)
    largest = blocks.abs().amax(dim=(1, 3))
    scales = torch.where(largest > 0, largest / LARGEST, 1.0)
    values = (blocks / scales[:, None, :, None]).to(torch.float8_e4m3fn)
    return values.flatten(2, 3).flatten(0, 1)[:rows, :columns], scales
