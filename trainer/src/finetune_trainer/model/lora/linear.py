"""A frozen linear layer with an adapter."""

import math
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torchtitan.models.common.linear import Linear

from finetune_trainer.model.frozen.linear import FrozenLinear
from finetune_trainer.model.lora.layout import linear_adapter_sharding
from finetune_trainer.model.lora.settings import LoRASettings


class AdapterLinear(Linear):
    """A or B: kept in float32, computed in the input's data type.

    FSDP casts too, but there is none where one process holds the model.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(Linear.Config):
        pass

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 (the name in the sharding config)
        return F.linear(input, self.weight.to(input.dtype))


class LoRALinear(FrozenLinear):
    """`FrozenLinear` plus scaling * B @ A @ dropout(x), x (.., in), A (rank, in), B (out, rank).

    torchtitan's own LoRALinear fails on weights that tensor parallelism replicates and has neither dropout
    nor rank stabilisation.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(FrozenLinear.Config):
        lora: LoRASettings

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.lora = config.lora
        self.adapter_is_on = True
        sharding_a, sharding_b = linear_adapter_sharding(config.sharding_config)
        self.lora_a = AdapterLinear.Config(
            in_features=config.in_features,
            out_features=config.lora.rank,
            param_init={"weight": partial(nn.init.kaiming_uniform_, a=math.sqrt(5))},
            sharding_config=sharding_a,
        ).build()
        self.lora_b = AdapterLinear.Config(
            in_features=config.lora.rank,
            out_features=config.out_features,
            param_init={"weight": nn.init.zeros_},
            sharding_config=sharding_b,
        ).build()
        if config.lora.dora:
            self.lora_magnitude = AdapterLinear.Config(
                in_features=1,
                out_features=config.out_features,
                param_init={"weight": nn.init.zeros_},
                sharding_config=sharding_b,
            ).build()

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 (the name in the sharding config)
        if not self.adapter_is_on:
            return super().forward(input)
        dropped = F.dropout(input, self.lora.dropout, self.training) if self.lora.dropout else input
        base, update = super().forward(input), self.lora_b(self.lora_a(dropped) * self.lora.scaling)
        if not self.lora.dora:
            return base + update
        scale = self._row_scales().to(input.dtype)
        if dropped is input:
            return scale * (base + update)
        # As PEFT: what is not of the base's own rows sees the dropped input.
        return base + (scale - 1) * super().forward(dropped) + scale * update

    def _row_scales(self) -> torch.Tensor:
        """DoRA's m / |W + s B A|, float32 [out]; the norm counts as a constant, as in the paper's 4.3.

        m is |W| and what is trained of it: so it is W's own norm before training, whatever a value is rounded
        to. The norm of a sum is that of its parts and their product, so that B A is never there as a whole.
        """
        with torch.no_grad():
            weight = self.frozen_weight().float()
            a, b = self.lora_a.weight.float(), self.lora_b.weight.float() * self.lora.scaling
            norms = weight.square().sum(1)
            mixed = (b * F.linear(a, weight).T).sum(1)
            added = ((b @ F.linear(a, a)) * b).sum(1)
            summed = (norms + 2 * mixed + added).clamp(min=0).sqrt()
        return (norms.sqrt() + self.lora_magnitude.weight.float().squeeze(1)) / summed
