import pytest

from finetune_trainer.contract.failure import ConfigurationError
from finetune_trainer.model.converter import LoRAConverter
from finetune_trainer.model.flavors import build_model_config
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.lora.targets import select_weights

ATTENTION = {"wq_a", "wq_b", "wkv_a", "wkv_b", "wo"}


@pytest.mark.parametrize(
    ("targets", "attention", "mlp", "experts"),
    [
        pytest.param(["attention"], ATTENTION, set(), set(), id="attention"),
        pytest.param(["served_attention"], ATTENTION - {"wkv_b"}, set(), set(), id="served by vLLM"),
        pytest.param(["mlp"], set(), {"w1", "w2", "w3"}, set(), id="mlp"),
        pytest.param(["experts"], set(), set(), {"w1", "w2", "w3"}, id="experts"),
        pytest.param(["o_proj"], {"wo"}, set(), set(), id="Hugging Face name"),
        pytest.param(["wo", "wkv_a"], {"wo", "wkv_a"}, set(), set(), id="torchtitan names"),
        pytest.param(["gate_proj"], set(), {"w1"}, {"w1"}, id="name of mlp and experts"),
        pytest.param(
            ["kv_a_proj_with_mqa", "mlp"], {"wkv_a"}, {"w1", "w2", "w3"}, set(), id="name and group"
        ),
    ],
)
def test_targets_select(targets: list[str], attention: set[str], mlp: set[str], experts: set[str]) -> None:
    selected = select_weights(build_model_config("tiny_lora", device="cpu"), targets)
    names = {"attention": attention, "mlp": mlp, "experts": experts}
    for group, expected in names.items():
        assert {weight.name for weight in selected if weight.group == group} == expected


def test_attention_is_selected_in_every_layer() -> None:
    selected = select_weights(build_model_config("tiny_lora", device="cpu"), ["wo"])
    assert {weight.fqn for weight in selected} == {f"layers.{layer}.attention.wo" for layer in range(4)}


def test_models_without_query_compression_have_q_proj() -> None:
    selected = select_weights(build_model_config("16B_lora", device="cpu"), ["attention"])
    assert {weight.hf_name for weight in selected} == {
        "q_proj",
        "kv_a_proj_with_mqa",
        "kv_b_proj",
        "o_proj",
    }


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        pytest.param(["q_prj"], r"lora.targets: q_prj matches no module\..*q_a_proj", id="typo"),
        pytest.param(["attention", "q_proj"], "lora.targets: q_proj matches no module", id="another model's"),
        pytest.param(["gate"], "lora.targets: gate is the router, which is never trained", id="router"),
        pytest.param(["lm_head"], "lora.targets: lm_head matches no module", id="head"),
        pytest.param([], r"lora.targets: \(none given\)", id="none"),
    ],
)
def test_targets_that_match_nothing(targets: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        select_weights(build_model_config("tiny_lora", device="cpu"), targets)


def test_rank_of_experts_fits_grouped_products() -> None:
    model = build_model_config("tiny_lora", device="cpu")
    with pytest.raises(ConfigurationError, match=r"lora.rank: 4 is no multiple of 8"):
        LoRAConverter.Config(
            lora=LoRASettings(rank=4, alpha=8.0), targets=("experts",), base_dtype="float32"
        ).build().convert(model)
