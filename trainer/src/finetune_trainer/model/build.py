"""From a base's shape to torchtitan's model config, by torchtitan's own DeepSeek-V3 builders, and back."""

import dataclasses
from typing import Any

from torchtitan.models.common import ComplexRoPE, Embedding, Linear, RMSNorm
from torchtitan.models.common.attention import FlexAttention
from torchtitan.models.common.moe import MoE, TokenChoiceTopKRouter
from torchtitan.models.common.token_dispatcher import AllToAllTokenDispatcher
from torchtitan.models.deepseek_v3 import (
    _EMBEDDING_INIT,
    _NORM_INIT,
    DeepSeekV3Model,
    _build_dsv3_layers,
    _output_linear_init,
)
from torchtitan.protocols.module import Module

from finetune_trainer.base.rope import Rope
from finetune_trainer.base.shape import Shape, TopkMethod
from finetune_trainer.model.attention import DenseAttention
from finetune_trainer.model.dispatch import GatheringTokenDispatcher, SingleBufferTokenDispatcher
from finetune_trainer.model.flash import HEAD_SIZES, FlashAttention
from finetune_trainer.model.rope import with_rope
from finetune_trainer.model.router import BestExpertRouter

LATENT_NORM_EPS = 1e-6
"""Of the norms of the latent queries, keys and values: in transformers, and in the models' own code, they are
made without config.json's rms_norm_eps. vLLM makes them with it, which is 1e-5 in some models."""

SHORTEST_TABLE = 16384
"""Positions that a table of rotations has at least; frozen_base.py makes it longer for longer sequences."""

ATTENTION: dict[str, type[Module.Config]] = {
    "dense": DenseAttention.Config,  # for CPUs
    "flex": FlexAttention.Config,
    "flash": FlashAttention.Config,
}

DISPATCHERS: dict[str, type[AllToAllTokenDispatcher.Config]] = {
    "cpu": SingleBufferTokenDispatcher.Config,
    "cuda": GatheringTokenDispatcher.Config,
}


def build_model(shape: Shape, rope: Rope, *, device: str, attention: str = "dense") -> DeepSeekV3Model.Config:
    """The model of `shape` and `rope`, as it trains on `device` with a row of `ATTENTION`."""
    dim, vocab_size = shape.hidden_size, shape.vocab_size
    model = DeepSeekV3Model.Config(
        vocab_size=vocab_size,
        dim=dim,
        tok_embeddings=Embedding.Config(
            num_embeddings=vocab_size, embedding_dim=dim, param_init=_EMBEDDING_INIT
        ),
        norm=RMSNorm.Config(normalized_shape=dim, param_init=_NORM_INIT),
        lm_head=Linear.Config(in_features=dim, out_features=vocab_size, param_init=_output_linear_init(dim)),
        layers=_layers(shape),
    )
    _set_norms(model, shape)
    head_sizes = (shape.qk_nope_head_dim + shape.qk_rope_head_dim, shape.v_head_dim)
    if attention == "flash" and head_sizes not in HEAD_SIZES:
        attention = "flex"
    for layer in model.layers:
        layer.attention.inner_attention = ATTENTION[attention]()
        if layer.moe is not None:
            _set_experts(layer.moe, shape, device)
    with_rope(model, rope)
    return model


def _layers(shape: Shape) -> list[Any]:
    return _build_dsv3_layers(
        n_layers=shape.num_hidden_layers,
        n_dense_layers=shape.first_k_dense_replace,
        dim=shape.hidden_size,
        n_heads=shape.num_attention_heads,
        q_lora_rank=shape.q_lora_rank or 0,
        kv_lora_rank=shape.kv_lora_rank,
        qk_nope_head_dim=shape.qk_nope_head_dim,
        qk_rope_head_dim=shape.qk_rope_head_dim,
        v_head_dim=shape.v_head_dim,
        dense_hidden_dim=shape.intermediate_size or 0,
        moe_hidden_dim=shape.moe_intermediate_size,
        num_experts=shape.n_routed_experts,
        num_shared_experts=shape.n_shared_experts,
        router_top_k=shape.num_experts_per_tok,
        router_score_func=shape.scoring_func,
        # Every token chooses from one group as from none.
        router_num_expert_groups=shape.n_group if shape.n_group > 1 else None,
        router_num_limited_groups=shape.topk_group if shape.n_group > 1 else None,
        router_route_scale=shape.routed_scaling_factor,
        router_route_norm=shape.norm_topk_prob,
        rope=ComplexRoPE.Config(dim=shape.qk_rope_head_dim, max_seq_len=SHORTEST_TABLE),
        mscale=1.0,  # with the rope
        attn_backend="flex",
        moe_comm_backend="standard",
        non_blocking_capacity_factor=None,
    )


def _set_norms(model: DeepSeekV3Model.Config, shape: Shape) -> None:
    """torchtitan computes all of them with its default, 1e-5."""
    for _, norm, _, _ in model.traverse(RMSNorm.Config):
        norm.eps = shape.rms_norm_eps
    for layer in model.layers:
        layer.attention.q_norm.eps = layer.attention.kv_norm.eps = LATENT_NORM_EPS


def _set_experts(moe: MoE.Config, shape: Shape, device: str) -> None:
    experts = moe.routed_experts
    experts.token_dispatcher = DISPATCHERS[device](
        num_experts=shape.n_routed_experts, top_k=shape.num_experts_per_tok
    )
    if shape.topk_method == "group_limited_greedy":
        moe.router = BestExpertRouter.Config(
            **{
                field.name: getattr(moe.router, field.name)
                for field in dataclasses.fields(moe.router)
                if field.init
            }
        )
    if shape.scoring_func == "softmax":
        # DeepSeek-V2 models balance by an auxiliary loss: their checkpoints have no expert bias.
        moe.load_balance_coeff = None


def shape_of(model: DeepSeekV3Model.Config) -> Shape:
    """What `build_model` made `model` from."""
    attention, dense = model.layers[0].attention, model.layers[0].feed_forward
    moe = next(layer.moe for layer in model.layers if layer.moe is not None)
    router, hidden = moe.router, moe.routed_experts.inner_experts.hidden_dim
    return Shape(
        vocab_size=model.vocab_size,
        hidden_size=model.dim,
        num_hidden_layers=len(model.layers),
        first_k_dense_replace=sum(layer.moe is None for layer in model.layers),
        intermediate_size=dense.w1.out_features if dense is not None else None,
        num_attention_heads=attention.n_heads,
        q_lora_rank=attention.q_lora_rank or None,
        kv_lora_rank=attention.kv_lora_rank,
        qk_nope_head_dim=attention.qk_nope_head_dim,
        qk_rope_head_dim=attention.qk_rope_head_dim,
        v_head_dim=attention.v_head_dim,
        moe_intermediate_size=hidden,
        n_routed_experts=router.num_experts,
        n_shared_experts=moe.shared_experts.w1.out_features // hidden,
        num_experts_per_tok=router.top_k,
        scoring_func=router.score_func,
        topk_method=_topk_method(router),
        n_group=router.num_expert_groups or 1,
        topk_group=router.num_limited_groups or 1,
        norm_topk_prob=router.route_norm,
        routed_scaling_factor=router.route_scale,
        rms_norm_eps=model.norm.eps,
    )


def _topk_method(router: TokenChoiceTopKRouter.Config) -> TopkMethod:
    if router.score_func == "sigmoid":
        return "noaux_tc"
    return "group_limited_greedy" if isinstance(router, BestExpertRouter.Config) else "greedy"
