"""The router's gate in float32, whatever the device's autocast supports."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torchtitan.models.common.linear import Linear


class Float32Gate(Linear):
    """As DeepSeek-V3 routes: scores in float32 also where the weights are bfloat16.

    torchtitan relies on float32 autocast for this, which CPUs do not have.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(Linear.Config):
        pass

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 (the name in the sharding config)
        return F.linear(input.float(), self.weight.float())
