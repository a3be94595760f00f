"""DoRA trains as PEFT's does, on a base in float32, in bfloat16 and in FP8."""

from pathlib import Path

import pytest
import torch
from auto_model import ADAPTERS
from peft_losses import assert_losses_of_peft
from random_families import FAMILIES, write_random_base

from finetune_trainer.contract.failure import ConfigurationError
from finetune_trainer.model.converter import LoRAConverter
from finetune_trainer.model.flavors import build_model_config
from finetune_trainer.model.frozen.settings import AS_PRECISION, FrozenSettings
from finetune_trainer.model.lora.linear import LoRALinear
from finetune_trainer.model.lora.settings import LoRASettings

pytestmark = pytest.mark.usefixtures("plain_tensors")

DORA = LoRASettings(rank=8, alpha=16.0, dora=True)


@pytest.mark.parametrize("family", sorted(FAMILIES)[:2])
def test_five_steps_have_the_losses_of_peft(tmp_path: Path, family: str) -> None:
    base = write_random_base(tmp_path, FAMILIES[family])
    losses = assert_losses_of_peft(base, DORA)
    again = write_random_base(tmp_path / "again", FAMILIES[family])
    plain = assert_losses_of_peft(again, ADAPTERS)
    assert losses[0] == pytest.approx(plain[0], abs=1e-5)
    assert losses[-1] != pytest.approx(plain[-1], abs=1e-3)


def layer(frozen: FrozenSettings = AS_PRECISION, dropout: float = 0.0) -> LoRALinear:
    """256 -> 384 with random weights, adapters at their beginning."""
    torch.manual_seed(0)
    settings = LoRASettings(rank=8, alpha=16.0, dropout=dropout, dora=True)
    linear = LoRALinear.Config(in_features=256, out_features=384, lora=settings, frozen=frozen).build()
    with torch.no_grad():
        linear.weight.copy_(torch.randn(384, 256).to(linear.weight.dtype))
        if frozen.in_float8:
            linear.weight_scale_inv.copy_(torch.rand(3, 2) + 0.5)
        linear.lora_a.weight.normal_()
        linear.lora_b.weight.zero_()
        linear.lora_magnitude.weight.zero_()
    return linear


@pytest.mark.parametrize("frozen", [FrozenSettings(), FrozenSettings(dtype="float8")], ids=["kept", "FP8"])
def test_it_begins_as_the_base_and_scales_its_rows(frozen: FrozenSettings) -> None:
    linear, x = layer(frozen), torch.randn(5, 256)
    linear.adapter_is_on = False
    base = linear(x)
    linear.adapter_is_on = True
    torch.testing.assert_close(linear(x), base)
    with torch.no_grad():
        linear.lora_b.weight.normal_()
        linear.lora_magnitude.weight.normal_()
    weight = linear.frozen_weight().float()
    summed = weight + 2 * linear.lora_b.weight @ linear.lora_a.weight
    magnitude = weight.norm(dim=1, keepdim=True) + linear.lora_magnitude.weight
    expected = x @ (magnitude * summed / summed.norm(dim=1, keepdim=True)).T
    torch.testing.assert_close(linear(x), expected, rtol=1e-4, atol=1e-4)


def test_dropout_leaves_the_base_s_own_rows_alone() -> None:
    """As PEFT: with all but nothing left of the input, the base's own product is there."""
    linear, x = layer(dropout=0.999999).train(), torch.randn(5, 256)
    linear.adapter_is_on = False
    base = linear(x)
    linear.adapter_is_on = True
    with torch.no_grad():
        linear.lora_b.weight.normal_()
    torch.testing.assert_close(linear(x), base)


@pytest.mark.parametrize("target", ["mlp", "experts", "down_proj"])
def test_what_peft_has_no_dora_of_is_refused(target: str) -> None:
    converter = LoRAConverter.Config(lora=DORA, targets=("attention", target), base_dtype="float32").build()
    with pytest.raises(ConfigurationError, match=r"lora.dora: .*down_proj.* can have no DoRA"):
        converter.convert(build_model_config("tiny_lora", device="cpu"))
