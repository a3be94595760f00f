"""The models that have a name, one row each; `auto` is any that a config.json describes."""

import dataclasses
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from torchtitan.models.deepseek_v3 import DeepSeekV3Model

from finetune_trainer.base.hf_config import CONFIG, read_hf_config, shape_of_base
from finetune_trainer.base.rope import Rope, Yarn, read_rope
from finetune_trainer.base.shape import Shape
from finetune_trainer.contract.failure import ConfigurationError, Reason
from finetune_trainer.model.build import build_model
from finetune_trainer.model.lora.settings import LoRASettings

AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Flavor:
    """A model's shape, the rope it has without a base, and the LoRA settings of torchtitan's command line."""

    shape: Shape
    rope: Rope
    lora: LoRASettings = field(default_factory=partial(LoRASettings, rank=16, alpha=32.0))


# As published: https://huggingface.co/deepseek-ai/DeepSeek-V3/blob/main/config.json
_DEEPSEEK_V3 = Flavor(
    shape=Shape(
        vocab_size=129_280,
        hidden_size=7168,
        num_hidden_layers=61,
        first_k_dense_replace=3,
        intermediate_size=18_432,
        num_attention_heads=128,
        q_lora_rank=1536,
        kv_lora_rank=512,
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        v_head_dim=128,
        moe_intermediate_size=2048,
        n_routed_experts=256,
        n_shared_experts=1,
        num_experts_per_tok=8,
        n_group=8,
        topk_group=4,
        routed_scaling_factor=2.5,
    ),
    rope=Rope(
        theta=10_000.0,
        yarn=Yarn(
            factor=40.0, original_length=4096, beta_fast=32.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0
        ),
    ),
)

FLAVORS: dict[str, Flavor] = {
    # DeepSeek-V3 with all its parts in 10M parameters; vLLM's CPU backend takes its MLA sizes.
    "tiny_lora": dataclasses.replace(
        _DEEPSEEK_V3,
        shape=Shape(
            vocab_size=4096,
            hidden_size=256,
            num_hidden_layers=4,
            first_k_dense_replace=1,
            intermediate_size=512,
            num_attention_heads=4,
            q_lora_rank=128,
            kv_lora_rank=512,
            qk_nope_head_dim=64,
            qk_rope_head_dim=64,
            v_head_dim=64,
            moe_intermediate_size=128,
            n_routed_experts=8,
            n_shared_experts=1,
            num_experts_per_tok=2,
            n_group=2,
            topk_group=1,
            routed_scaling_factor=2.5,
        ),
    ),
    # The widths of 671B, its first dense layer and its first layer of experts.
    "deepseek_aghilora": dataclasses.replace(
        _DEEPSEEK_V3,
        shape=dataclasses.replace(_DEEPSEEK_V3.shape, num_hidden_layers=2, first_k_dense_replace=1),
    ),
    # https://huggingface.co/deepseek-ai/DeepSeek-V2-Lite/blob/main/config.json
    "16B_lora": Flavor(
        shape=Shape(
            vocab_size=102_400,
            hidden_size=2048,
            num_hidden_layers=27,
            first_k_dense_replace=1,
            intermediate_size=10_944,
            num_attention_heads=16,
            q_lora_rank=None,
            kv_lora_rank=512,
            qk_nope_head_dim=128,
            qk_rope_head_dim=64,
            v_head_dim=128,
            moe_intermediate_size=1408,
            n_routed_experts=64,
            n_shared_experts=2,
            num_experts_per_tok=6,
            scoring_func="softmax",
            topk_method="greedy",
            norm_topk_prob=False,
        ),
        rope=Rope(
            theta=10_000.0,
            yarn=Yarn(
                factor=40.0,
                original_length=4096,
                beta_fast=32.0,
                beta_slow=1.0,
                mscale=0.707,
                mscale_all_dim=0.707,
            ),
        ),
    ),
    "671B_lora": _DEEPSEEK_V3,
}


def find_flavor(name: str) -> Flavor:
    """The row `name` of `FLAVORS`; ConfigurationError if there is none."""
    if name not in FLAVORS:
        raise ConfigurationError(
            f"flavor: {name} does not exist",
            Reason.FLAVOR_INVALID,
            remedy=f"Use {AUTO}, or one of {', '.join(FLAVORS)}",
        )
    return FLAVORS[name]


def is_known(name: str, base: Path) -> bool:
    """Whether the model of flavour `name` can be built already: `auto` has to wait for its base."""
    return name != AUTO or (base / CONFIG).exists()


def build_model_config(
    name: str, *, device: str, attention: str = "dense", base: Path | None = None
) -> DeepSeekV3Model.Config:
    """The torchtitan model config of flavour `name`, with the rope of `base` once it has a config.json.

    Raises ConfigurationError for an unknown flavour, DataError for a config.json that is not computed with.
    """
    if name == AUTO:
        assert base is not None
        shape, rope = shape_of_base(base), rope_of_base(base)
    else:
        flavor = find_flavor(name)
        is_there = base is not None and (base / CONFIG).exists()
        shape, rope = flavor.shape, rope_of_base(base) if base and is_there else flavor.rope
    return build_model(shape, rope, device=device, attention=attention)


def rope_of_base(base: Path) -> Rope:
    """The rope of `base`/config.json. Raises DataError for one that is not computed with."""
    return read_rope(read_hf_config(base), base / CONFIG)
