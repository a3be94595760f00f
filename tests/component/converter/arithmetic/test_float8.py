"""FP8 arithmetic: every code, and blocks that end early."""

import pytest
import torch

from finetune_converter.arithmetic.block_format import BlockFormat
from finetune_converter.arithmetic.float8 import block_scales, dequantize, quantize

EVERY_CODE = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn)


@pytest.mark.parametrize("scale", [1.0, 2.0**-30, 3e-5, 1e20])
@pytest.mark.parametrize("nan", [False, True])
def test_every_code_is_what_torch_says(scale: float, nan: bool) -> None:
    codes = EVERY_CODE if nan else EVERY_CODE[~EVERY_CODE.float().isnan()]
    ours = dequantize(codes[None], torch.tensor([[scale] * 2]), BlockFormat())
    torch.testing.assert_close(ours, codes.float()[None] * scale, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("shape", [(128, 128), (576, 300), (1, 1), (129, 127)])
@pytest.mark.parametrize("power_of_two", [False, True])
def test_a_value_comes_back_within_half_a_step(shape: tuple[int, int], power_of_two: bool) -> None:
    torch.manual_seed(0)
    block, matrix = BlockFormat(power_of_two=power_of_two), torch.randn(shape) * 0.02
    scales = block_scales(matrix, block)
    assert scales.shape == block.scale_shape(shape)
    back = dequantize(quantize(matrix.clone(), scales, block), scales, block)
    # Half a unit of three mantissa bits; below e4m3's normal numbers, half of its smallest step.
    step = dequantize(torch.full(shape, 2.0**-10).to(torch.float32), scales, block)
    assert bool(((back - matrix).abs() <= matrix.abs() * 2.0**-4 + step).all())
