"""Products in FP8, as CPUs compute them: those of dequantised weights, but for the rounding of the rows."""

import pytest
import torch

from finetune_trainer.base.float8 import quantize
from finetune_trainer.model.converter import LoRAConverter
from finetune_trainer.model.flavors import build_model_config
from finetune_trainer.model.frozen import float8_products, weight_only
from finetune_trainer.model.frozen.settings import FrozenSettings
from finetune_trainer.model.lora.experts import LoRAGroupedExperts
from finetune_trainer.model.lora.linear import LoRALinear
from finetune_trainer.model.lora.settings import LoRASettings

# e4m3 has three bits after the point: 2.6 % of a normally distributed value, in the mean.
ROUNDING = 0.05


def _weights(shape: tuple[int, int], *, experts: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    quantised = [quantize(torch.randn(shape, generator=generator)) for _ in range(experts)]
    values, scales = (torch.stack(parts) for parts in zip(*quantised, strict=True))
    return values, scales


def _difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).norm() / theirs.norm()).item()


def test_linear_and_its_gradient() -> None:
    (weight,), (scales,) = _weights((256, 384))
    x = torch.randn(2, 16, 384, generator=torch.Generator().manual_seed(1), requires_grad=True)
    outputs = [products.linear(x, weight, scales) for products in (float8_products, weight_only)]
    gradients = [torch.autograd.grad(output.square().sum(), x)[0] for output in outputs]
    assert outputs[0].shape == (2, 16, 256)
    assert 0 < _difference(*outputs) < ROUNDING
    assert 0 < _difference(*gradients) < ROUNDING


def test_grouped_linear_and_its_gradient() -> None:
    weight, scales = _weights((256, 384), experts=3)
    ends = torch.tensor([4, 4, 10], dtype=torch.int32)  # the second expert got nothing
    x = torch.randn(10, 384, generator=torch.Generator().manual_seed(1), requires_grad=True)
    outputs = [
        products.grouped_linear(x, weight, scales, ends) for products in (float8_products, weight_only)
    ]
    gradients = [torch.autograd.grad(output.square().sum(), x)[0] for output in outputs]
    assert 0 < _difference(*outputs) < ROUNDING
    assert 0 < _difference(*gradients) < ROUNDING


@pytest.mark.parametrize(
    ("shape", "rows", "cut"),
    [
        pytest.param((576, 384), 16, False, id="a block that is not whole"),
        pytest.param((256, 384), 15, False, id="rows that cuBLAS does not take"),
        pytest.param((256, 384), 16, True, id="blocks that tensor parallelism cut"),
    ],
)
def test_what_cannot_be_multiplied_in_fp8_is_dequantised(
    shape: tuple[int, int], rows: int, cut: bool
) -> None:
    (weight,), (scales,) = _weights(shape)
    if cut:
        scales = scales.repeat_interleave(2, dim=0)
    x = torch.randn(rows, 384)
    assert torch.equal(float8_products.linear(x, weight, scales), weight_only.linear(x, weight, scales))


def test_each_row_of_each_group_has_its_scale() -> None:
    x = torch.randn(4, 256) * torch.logspace(-3, 3, 4)[:, None]
    x[0, :128] = 0
    values, scales = float8_products._quantize_rows(x)
    assert scales.shape == (2, 4)
    again = values.float() * scales.t().repeat_interleave(128, dim=1)
    assert ((again - x).norm(dim=1) < ROUNDING * x.norm(dim=1)).all()


@pytest.mark.parametrize(("arithmetic", "in_float8"), [("float8", False), ("float8WithHead", True)])
def test_the_head_is_in_fp8_where_it_is_asked_for(arithmetic: str, in_float8: bool) -> None:
    frozen = FrozenSettings(dtype="float8", arithmetic=arithmetic)
    converter = LoRAConverter.Config(
        lora=LoRASettings(rank=8, alpha=16.0), targets=("attention",), base_dtype="float32", frozen=frozen
    )
    config = converter.build().convert(build_model_config("tiny_lora", device="cpu"))
    with torch.device("meta"):
        head = config.build().lm_head
    assert (head.weight.dtype == torch.float8_e4m3fn) == in_float8


def test_layers_compile_as_one_graph() -> None:
    settings = LoRASettings(rank=8, alpha=16.0)
    kept = {"frozen": FrozenSettings(dtype="float8", arithmetic="float8"), "lora": settings}
    linear = LoRALinear.Config(in_features=256, out_features=128, **kept).build()
    experts = LoRAGroupedExperts.Config(dim=128, hidden_dim=256, num_experts=2, **kept).build()
    for module in (linear, experts):
        for parameter in module.parameters():
            parameter.detach().copy_(torch.ones(parameter.shape) / 128)
    x = torch.randn(16, 256, requires_grad=True)

    def forward(x: torch.Tensor) -> torch.Tensor:
        return experts(linear(x), torch.tensor([6, 10]))

    compiled = torch.compile(forward, fullgraph=True, backend="aot_eager")
    gradients = [torch.autograd.grad(f(x).square().sum(), x)[0] for f in (compiled, forward)]
    torch.testing.assert_close(*gradients)
