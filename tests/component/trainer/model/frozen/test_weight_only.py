"""Frozen weights in FP8: the same products and gradients as their dequantised values give."""

import math

import pytest
import torch
import torch.nn.functional as F

from finetune_trainer.base.float8 import BLOCK, quantize
from finetune_trainer.model.frozen import weight_only


@pytest.mark.parametrize(
    "shape", [pytest.param((256, 384), id="whole blocks"), pytest.param((576, 300), id="ragged")]
)
def test_quantising_keeps_each_value_to_a_sixteenth(shape: tuple[int, int]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values, scales = quantize(weight)
    assert values.shape == weight.shape
    assert scales.shape == tuple(-(-size // BLOCK) for size in shape)
    # e4m3 has three bits after the point; what is small beside its block's largest is subnormal.
    torch.testing.assert_close(
        weight_only.dequantized(values, scales, torch.float32),
        weight,
        rtol=1 / 16,
        atol=weight.abs().max() * 2**-15,
    )


def test_a_block_of_zeros_stays_zeros() -> None:
    values, scales = quantize(torch.zeros(128, 128))
    assert not weight_only.dequantized(values, scales, torch.float32).any()


@pytest.mark.parametrize(
    ("rows", "ranks"),
    [
        pytest.param(256, 2, id="whole blocks"),
        pytest.param(384, 2, id="a block and a half a rank"),
        pytest.param(128, 4, id="a quarter of a block a rank"),
        pytest.param(576, 2, id="ragged"),
    ],
)
def test_parts_of_blocks_have_scales_of_their_own(rows: int, ranks: int) -> None:
    weight = torch.randn(rows, 256, generator=torch.Generator().manual_seed(3))
    values, scales = quantize(weight)
    part = math.gcd(BLOCK, rows // ranks)
    cut = scales[torch.arange(0, rows, part) // BLOCK]
    whole = weight_only.dequantized(values, scales, torch.float32)
    parts = [
        weight_only.dequantized(*rank, torch.float32)
        for rank in zip(values.chunk(ranks), cut.chunk(ranks), strict=True)
    ]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize(
    "shape", [pytest.param((256, 384), id="whole blocks"), pytest.param((576, 320), id="ragged")]
)
def test_linear(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    values, scales = quantize(torch.randn(shape, generator=generator))
    x = torch.randn(5, shape[1], generator=generator, requires_grad=True)
    output = weight_only.linear(x, values, scales)
    expected = F.linear(x, weight_only.dequantized(values, scales, x.dtype))
    torch.testing.assert_close(output, expected)
    ours, theirs = (
        torch.autograd.grad(result.square().sum(), x, retain_graph=True)[0] for result in (output, expected)
    )
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "chunk_bytes", [pytest.param(2**30, id="at once"), pytest.param(1, id="block by block")]
)
def test_grouped_linear(monkeypatch: pytest.MonkeyPatch, chunk_bytes: int) -> None:
    monkeypatch.setattr(weight_only, "CHUNK_BYTES", chunk_bytes)
    generator = torch.Generator().manual_seed(2)
    quantised = [quantize(torch.randn(320, 256, generator=generator)) for _ in range(3)]
    values, scales = (torch.stack(parts) for parts in zip(*quantised, strict=True))
    ends = torch.tensor([4, 4, 10], dtype=torch.int32)  # the second expert got nothing
    x = torch.randn(10, 256, generator=generator, requires_grad=True)
    output = weight_only.grouped_linear(x, values, scales, ends)
    weights = weight_only.dequantized(values, scales, x.dtype)
    expected = torch.cat([F.linear(x[:4], weights[0]), F.linear(x[4:], weights[2])])
    torch.testing.assert_close(output, expected)
    ours, theirs = (
        torch.autograd.grad(result.square().sum(), x, retain_graph=True)[0] for result in (output, expected)
    )
    torch.testing.assert_close(ours, theirs)
