import pytest
import torch
from torchtitan.models.common import RMSNorm

from finetune_trainer.contract.failure import ConfigurationError
from finetune_trainer.model.converter import LoRAConverter
from finetune_trainer.model.flavors import FLAVORS, build_model_config
from finetune_trainer.model.lora.names import is_adapter

pytestmark = pytest.mark.usefixtures("plain_tensors")


@pytest.mark.parametrize(
    ("flavor", "layers", "dense", "base_parameters", "attention_adapters"),
    [
        pytest.param("tiny_lora", 4, 1, 7_449_344, 217_088, id="tiny_lora"),
        pytest.param("deepseek_aghilora", 2, 1, 13_944_134_656, 3_180_544, id="deepseek_aghilora"),
        pytest.param("16B_lora", 27, 1, 15_706_484_224, 7_105_536, id="16B_lora"),
        pytest.param("671B_lora", 61, 3, 671_026_404_352, 97_006_592, id="671B_lora"),
    ],
)
def test_flavors_have_the_size_of_the_published_models(
    flavor: str, layers: int, dense: int, base_parameters: int, attention_adapters: int
) -> None:
    config = build_model_config(flavor, device="cuda")
    assert len(config.layers) == layers
    assert sum(layer.moe is None for layer in config.layers) == dense
    with torch.device("meta"):
        model = (
            LoRAConverter.Config(lora=FLAVORS[flavor].lora, targets=("attention",), base_dtype="bfloat16")
            .build()
            .convert(config)
            .build()
        )
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    assert sum(size for name, size in sizes.items() if not is_adapter(name)) == base_parameters
    assert sum(size for name, size in sizes.items() if is_adapter(name)) == attention_adapters
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == is_adapter(name)
        assert parameter.dtype == (torch.float32 if is_adapter(name) else torch.bfloat16)


@pytest.mark.parametrize("flavor", FLAVORS)
def test_norms_compute_with_deepseek_s_epsilon(flavor: str) -> None:
    config = build_model_config(flavor, device="cpu")
    assert {norm.eps for _, norm, _, _ in config.traverse(RMSNorm.Config)} == {1e-6}


@pytest.mark.parametrize(
    ("flavor", "biased"), [("16B_lora", False), ("671B_lora", True), ("tiny_lora", True)]
)
def test_only_deepseek_v3_routes_with_a_bias(flavor: str, biased: bool) -> None:
    config = build_model_config(flavor, device="cpu")
    balanced = {layer.moe.load_balance_coeff is not None for layer in config.layers if layer.moe is not None}
    assert balanced == {biased}


def test_unknown_flavor_names_the_known_ones() -> None:
    with pytest.raises(
        ConfigurationError, match=r"flavor: 7B_lora does not exist.*auto, or one of tiny_lora, deepseek_agh"
    ):
        build_model_config("7B_lora", device="cpu")
