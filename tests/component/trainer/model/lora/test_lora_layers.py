import math

import pytest
import spmd_types as spmd
import torch
import torch.nn.functional as F
from torch import nn
from torchtitan.models.common.decoder_sharding import dense_param_placement
from torchtitan.models.common.moe_sharding import expert_param_placement_dense, expert_param_placement_sparse
from torchtitan.protocols.sharding import SpmdLayout

from finetune_trainer.model.frozen_base import FrozenBaseModel
from finetune_trainer.model.lora.experts import LoRAGroupedExperts
from finetune_trainer.model.lora.initialize import initialize_adapters
from finetune_trainer.model.lora.layout import adapter_layouts
from finetune_trainer.model.lora.linear import LoRALinear
from finetune_trainer.model.lora.settings import LoRASettings

SETTINGS = LoRASettings(rank=8, alpha=32.0)


def _fill(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(3)
    for parameter in module.parameters():
        parameter.detach().normal_(std=0.3, generator=generator)


@pytest.mark.parametrize(
    ("settings", "scaling"),
    [
        pytest.param(SETTINGS, 4.0, id="alpha / rank"),
        pytest.param(LoRASettings(rank=16, alpha=32.0, use_rslora=True), 8.0, id="rank-stabilised"),
    ],
)
def test_scaling(settings: LoRASettings, scaling: float) -> None:
    assert settings.scaling == scaling


def test_linear_adds_scaled_b_a() -> None:
    layer = LoRALinear.Config(in_features=24, out_features=40, lora=SETTINGS).build()
    _fill(layer)
    x = torch.randn(5, 24)
    merged = layer.weight + 4.0 * layer.lora_b.weight @ layer.lora_a.weight
    torch.testing.assert_close(layer(x), F.linear(x, merged))


def test_linear_drops_inputs_of_the_adapter_in_training_only() -> None:
    settings = LoRASettings(rank=8, alpha=8.0, dropout=0.5)
    layer = LoRALinear.Config(in_features=24, out_features=40, lora=settings).build()
    _fill(layer)
    x = torch.randn(5, 24)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


@pytest.mark.parametrize("targets", [(), ("w1",), ("w1", "w2", "w3")], ids=str)
def test_experts_add_scaled_b_a_each(targets: tuple[str, ...]) -> None:
    config = LoRAGroupedExperts.Config(dim=16, hidden_dim=24, num_experts=3, lora=SETTINGS, targets=targets)
    experts = config.build()
    _fill(experts)
    counts = [4, 0, 3]
    x = torch.randn(sum(counts), 16, generator=torch.Generator().manual_seed(4))
    output = experts(x, torch.tensor(counts))

    def merged(weight: str, base: str, expert: int) -> torch.Tensor:
        value = getattr(experts, base)[expert]
        if weight not in targets:
            return value
        return (
            value
            + 4.0
            * getattr(experts, f"{weight}_lora_b")[expert]
            @ getattr(experts, f"{weight}_lora_a")[expert]
        )

    expected = []
    for expert, tokens in enumerate(x.split(counts)):
        gate = F.silu(tokens @ merged("w1", "w1_EFD", expert).T)
        up = tokens @ merged("w3", "w3_EFD", expert).T
        expected.append((gate * up) @ merged("w2", "w2_EDF", expert).T)
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, torch.cat(expected), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    ("base", "dims", "a", "b"),
    [
        pytest.param(
            dense_param_placement(tp=spmd.S(0)),
            (0, 1),
            dense_param_placement(tp=spmd.R),
            dense_param_placement(tp=spmd.S(0)),
            id="column-wise",
        ),
        pytest.param(
            dense_param_placement(tp=spmd.S(1)),
            (0, 1),
            dense_param_placement(tp=spmd.S(1)),
            dense_param_placement(tp=spmd.R),
            id="row-wise",
        ),
        pytest.param(
            dense_param_placement(tp=spmd.R),
            (0, 1),
            dense_param_placement(tp=spmd.R),
            dense_param_placement(tp=spmd.R),
            id="replicated, as wq_a and wkv_a",
        ),
        pytest.param(
            expert_param_placement_sparse(),
            (1, 2),
            expert_param_placement_sparse(),
            expert_param_placement_sparse(),
            id="experts under expert parallelism",
        ),
        pytest.param(
            expert_param_placement_dense(tp_placement=spmd.S(2)),
            (1, 2),
            expert_param_placement_dense(tp_placement=spmd.S(2)),
            expert_param_placement_dense(tp_placement=spmd.R),
            id="experts' row-wise weight under tensor parallelism",
        ),
    ],
)
def test_adapters_follow_their_base(
    base: SpmdLayout, dims: tuple[int, int], a: SpmdLayout, b: SpmdLayout
) -> None:
    assert adapter_layouts(base, out_dim=dims[0], in_dim=dims[1]) == (a, b)


def test_adapters_start_as_peft_s_and_the_same_for_the_same_seed(tiny: FrozenBaseModel.Config) -> None:
    model = tiny.build()
    initialize_adapters(model, seed=7)
    first = {name: tensor.clone() for name, tensor in model.state_dict().items() if "lora_" in name}
    initialize_adapters(model, seed=7)
    for name, tensor in model.state_dict().items():
        if "lora_b" in name:
            assert not tensor.any()
        elif "lora_a" in name:
            assert torch.equal(tensor, first[name])
            bound = 1 / math.sqrt(tensor.shape[-1])
            assert 0.9 * bound < tensor.abs().max() <= bound
    initialize_adapters(model, seed=8)
    assert not torch.equal(
        model.layers["0"].attention.wo.lora_a.weight, first["layers.0.attention.wo.lora_a.weight"]
    )
