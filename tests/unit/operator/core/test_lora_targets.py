"""What a target of LoRA names."""

import pytest

from finetune_operator.core.lora_targets import is_known, named_modules

MLP = {("mlp", "gate_proj"), ("mlp", "up_proj"), ("mlp", "down_proj")}


@pytest.mark.parametrize(
    ("targets", "modules"),
    [
        pytest.param(["mlp"], MLP, id="a group"),
        pytest.param(["gate_proj"], {("mlp", "gate_proj"), ("experts", "gate_proj")}, id="in two groups"),
        pytest.param(["w3"], {("mlp", "up_proj"), ("experts", "up_proj")}, id="by torchtitan's name"),
        pytest.param(
            ["wkv_a", "o_proj"], {("attention", "kv_a_proj_with_mqa"), ("attention", "o_proj")}, id="both"
        ),
        pytest.param(["mlp", "in_proj"], MLP, id="one that no base has"),
        pytest.param(["gate"], set(), id="a router gets none"),
    ],
)
def test_named_modules(targets: list[str], modules: set[tuple[str, str]]) -> None:
    assert named_modules(targets) == modules


def test_what_vllm_serves_is_all_of_attention_but_one() -> None:
    left_out = named_modules(["attention"]) - named_modules(["served_attention"])
    assert left_out == {("attention", "kv_b_proj")} == named_modules(["wkv_b"])


def test_a_name_is_known_where_some_base_has_it() -> None:
    assert [name for name in ("experts", "q_proj", "wo", "gate", "in_proj") if is_known(name)] == [
        "experts", "q_proj", "wo",
    ]  # fmt: skip
