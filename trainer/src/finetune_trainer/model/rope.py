"""A model that computes with the rotary embedding of its base, exactly."""

import dataclasses
from dataclasses import dataclass

import torch
from torchtitan.models.common import ComplexRoPE
from torchtitan.models.deepseek_v3 import DeepSeekV3Model

from finetune_trainer.base.rope import Rope, Yarn


class ScaledComplexRoPE(ComplexRoPE):
    """torchtitan's rotates only; here what is rotated is multiplied by `attention_factor`, too.

    DeepSeek-V2's YaRN scales cosine and sine by its mscale over its mscale_all_dim, which in published models
    are equal.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(ComplexRoPE.Config):
        mscale: float
        attention_factor: float

    def forward(
        self, query: torch.Tensor, key: torch.Tensor, positions: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotate and scale in float32, then round once; shapes (batch, length, heads, dim), as given."""
        factor = self.config.attention_factor
        rotated_query, rotated_key = super().forward(query.float(), key.float(), positions)
        return (rotated_query * factor).type_as(query), (rotated_key * factor).type_as(key)


def with_rope(model: DeepSeekV3Model.Config, rope: Rope) -> None:
    """Have `model`, changed in place, compute with `rope`."""
    for layer in model.layers:
        layer.attention.rope = _rope_config(layer.attention.rope, rope)
        layer.attention.mscale = rope.yarn.mscale_all_dim if rope.yarn else 1.0


def rope_of(model: DeepSeekV3Model.Config) -> Rope:
    """What `model` computes with: the inverse of `with_rope`."""
    attention = model.layers[0].attention
    rope = attention.rope
    if rope.scaling == "none":
        return Rope(theta=rope.theta)
    yarn = Yarn(
        factor=rope.rope_factor,
        original_length=rope.original_seq_len,
        beta_fast=rope.beta_fast,
        beta_slow=rope.beta_slow,
        mscale=rope.mscale if isinstance(rope, ScaledComplexRoPE.Config) else attention.mscale,
        mscale_all_dim=attention.mscale,
    )
    return Rope(theta=rope.theta, yarn=yarn)


def _rope_config(config: ComplexRoPE.Config, rope: Rope) -> ComplexRoPE.Config:
    if rope.yarn is None:
        return dataclasses.replace(config, theta=rope.theta, scaling="none")
    scaled = {
        "theta": rope.theta,
        "scaling": "yarn",
        "rope_factor": rope.yarn.factor,
        "original_seq_len": rope.yarn.original_length,
        "beta_fast": rope.yarn.beta_fast,
        "beta_slow": rope.yarn.beta_slow,
    }
    if rope.yarn.mscale == rope.yarn.mscale_all_dim:
        return dataclasses.replace(config, **scaled)
    kept = {field.name: getattr(config, field.name) for field in dataclasses.fields(config) if field.init}
    magnitude = {"mscale": rope.yarn.mscale, "attention_factor": rope.yarn.attention_factor}
    return ScaledComplexRoPE.Config(**kept | scaled | magnitude)
