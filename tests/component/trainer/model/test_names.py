import pytest

from finetune_trainer.model.frozen_base import FrozenBaseModel
from finetune_trainer.model.names import CheckpointNames

EXPERTS = "layers.2.moe.routed_experts.inner_experts"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("tok_embeddings.weight", ["model.embed_tokens.weight"], id="embedding"),
        pytest.param(
            "layers.11.attention.wq_a.weight", ["model.layers.11.self_attn.q_a_proj.weight"], id="linear"
        ),
        pytest.param(
            f"{EXPERTS}.w2_EDF",
            [f"model.layers.2.mlp.experts.{expert}.down_proj.weight" for expert in range(2)],
            id="experts",
        ),
        pytest.param(
            "layers.3.moe.expert_bias_E",
            ["model.layers.3.mlp.gate.e_score_correction_bias"],
            id="router bias",
        ),
    ],
)
def test_tensors_in_the_checkpoint(tiny: FrozenBaseModel.Config, name: str, expected: list[str]) -> None:
    assert CheckpointNames.of(tiny).tensors(name, num_experts=2) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param(
            "layers.0.feed_forward.w1.lora_a.weight",
            [("model.layers.0.mlp.gate_proj", "lora_A")],
            id="linear",
        ),
        pytest.param(
            f"{EXPERTS}.w3_lora_b",
            [(f"model.layers.2.mlp.experts.{expert}.up_proj", "lora_B") for expert in range(2)],
            id="experts",
        ),
    ],
)
def test_modules_that_adapters_belong_to(
    tiny: FrozenBaseModel.Config, name: str, expected: list[tuple[str, str]]
) -> None:
    assert CheckpointNames.of(tiny).adapter_modules(name, num_experts=2) == expected


def test_every_parameter_has_a_name_in_the_checkpoint(tiny: FrozenBaseModel.Config) -> None:
    names = CheckpointNames.of(tiny)
    for name, tensor in tiny.build().state_dict().items():
        found = names.adapter_modules(name, 8) if "lora_" in name else names.tensors(name, 8)
        assert len(found) == (8 if tensor.dim() == 3 else 1)
