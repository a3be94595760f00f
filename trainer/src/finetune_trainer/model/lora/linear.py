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

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 (the name in the sharding config)
        if not self.adapter_is_on:
            return super().forward(input)
        dropped = F.dropout(input, self.lora.dropout, self.training) if self.lora.dropout else input
        return super().forward(input) + self.lora_b(self.lora_a(dropped) * self.lora.scaling)
