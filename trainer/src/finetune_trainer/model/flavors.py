"""The models that can be trained: one row a flavour, each built by torchtitan's own DeepSeek-V3 builders."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torchtitan.models.common import ComplexRoPE, Embedding, Linear, RMSNorm
from torchtitan.models.common.attention import FlexAttention
from torchtitan.models.common.token_dispatcher import AllToAllTokenDispatcher
from torchtitan.models.deepseek_v3 import (
    _EMBEDDING_INIT,
    _NORM_INIT,
    DeepSeekV3Model,
    _build_dsv3_layers,
    _output_linear_init,
    deepseekv3_configs,
)
from torchtitan.protocols.module import Module

from finetune_trainer.contract.failure import ConfigurationError, Reason
from finetune_trainer.model.attention import DenseAttention
from finetune_trainer.model.dispatch import GatheringTokenDispatcher, SingleBufferTokenDispatcher
from finetune_trainer.model.flash import FlashAttention
from finetune_trainer.model.lora.settings import LoRASettings

# As in every published DeepSeek-V2 and V3 config.json; torchtitan computes with its default, 1e-5.
RMS_NORM_EPS = 1e-6

ATTENTION: dict[str, type[Module.Config]] = {
    "dense": DenseAttention.Config,  # for CPUs
    "flex": FlexAttention.Config,
    "flash": FlashAttention.Config,
}

DISPATCHERS: dict[str, type[AllToAllTokenDispatcher.Config]] = {
    "cpu": SingleBufferTokenDispatcher.Config,
    "cuda": GatheringTokenDispatcher.Config,
}

ModelBuilder = Callable[..., DeepSeekV3Model.Config]


@dataclass(frozen=True, kw_only=True)
class Flavor:
    """A model's shape and the LoRA settings it is trained with unless a job says otherwise."""

    build: ModelBuilder
    lora: LoRASettings = field(default_factory=partial(LoRASettings, rank=16, alpha=32.0))


def _tiny(**backends: Any) -> DeepSeekV3Model.Config:
    """DeepSeek-V3 with all its parts in 10M parameters; vLLM's CPU backend takes its MLA sizes."""
    dim, vocab_size, rope_dim = 256, 4096, 64
    layers = _build_dsv3_layers(
        n_layers=4,
        n_dense_layers=1,
        dim=dim,
        n_heads=4,
        q_lora_rank=128,
        kv_lora_rank=512,
        qk_nope_head_dim=64,
        qk_rope_head_dim=rope_dim,
        v_head_dim=64,
        mscale=1.0,
        dense_hidden_dim=512,
        moe_hidden_dim=128,
        num_experts=8,
        num_shared_experts=1,
        router_top_k=2,
        router_score_func="sigmoid",
        router_num_expert_groups=2,
        router_num_limited_groups=1,
        router_route_scale=2.5,
        router_route_norm=True,
        rope=ComplexRoPE.Config(
            dim=rope_dim,
            max_seq_len=4096 * 4,
            theta=10000.0,
            scaling="yarn",
            rope_factor=40.0,
            beta_fast=32.0,
            beta_slow=1.0,
            original_seq_len=4096,
        ),
        **backends,
    )
    return DeepSeekV3Model.Config(
        vocab_size=vocab_size,
        dim=dim,
        tok_embeddings=Embedding.Config(
            num_embeddings=vocab_size, embedding_dim=dim, param_init=_EMBEDDING_INIT
        ),
        norm=RMSNorm.Config(normalized_shape=dim, param_init=_NORM_INIT),
        lm_head=Linear.Config(in_features=dim, out_features=vocab_size, param_init=_output_linear_init(dim)),
        layers=layers,
    )


def _with_layers(builder: ModelBuilder, indices: tuple[int, ...], **backends: Any) -> DeepSeekV3Model.Config:
    config = builder(**backends)
    config.layers = [config.layers[index] for index in indices]
    return config


def _with_mscale(builder: ModelBuilder, mscale: float, **backends: Any) -> DeepSeekV3Model.Config:
    config = builder(**backends)
    for layer in config.layers:
        layer.attention.mscale = mscale
    return config


FLAVORS: dict[str, Flavor] = {
    "tiny_lora": Flavor(build=_tiny),
    # The widths of 671B, its first dense layer and its first layer of experts.
    "deepseek_aghilora": Flavor(build=partial(_with_layers, deepseekv3_configs["671B"], (0, 3))),
    # DeepSeek-V2-Lite, whose config.json says mscale_all_dim 0.707 where torchtitan has 0.70.
    "16B_lora": Flavor(build=partial(_with_mscale, deepseekv3_configs["16B"], 0.707)),
    "671B_lora": Flavor(build=deepseekv3_configs["671B"]),
}


def find_flavor(name: str) -> Flavor:
    """The row `name` of `FLAVORS`; ConfigurationError if there is none."""
    if name not in FLAVORS:
        raise ConfigurationError(
            f"flavor: {name} does not exist", Reason.FLAVOR_INVALID, remedy=f"Use one of {', '.join(FLAVORS)}"
        )
    return FLAVORS[name]


def build_model_config(name: str, *, device: str, attention: str = "dense") -> DeepSeekV3Model.Config:
    """The torchtitan model config of flavour `name`, as it trains on `device` with a row of `ATTENTION`."""
    config = find_flavor(name).build(
        attn_backend="flex", moe_comm_backend="standard", non_blocking_capacity_factor=None
    )
    for _, norm, _, _ in config.traverse(RMSNorm.Config):
        norm.eps = RMS_NORM_EPS
    for layer in config.layers:
        layer.attention.inner_attention = ATTENTION[attention]()
        if layer.moe is not None:
            experts = layer.moe.routed_experts
            experts.token_dispatcher = DISPATCHERS[device](
                num_experts=experts.token_dispatcher.num_experts, top_k=experts.token_dispatcher.top_k
            )
    for layer in config.layers:
        if layer.moe is not None and layer.moe.router.score_func == "softmax":
            # DeepSeek-V2 models balance by an auxiliary loss: their checkpoints have no expert bias.
            layer.moe.load_balance_coeff = None
    return config
