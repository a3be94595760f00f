"""What routers do otherwise than torchtitan's: the gate in float32, and DeepSeek-V2's choice of groups."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch.distributed.tensor import DTensor
from torchtitan.models.common.linear import Linear
from torchtitan.models.common.moe import TokenChoiceTopKRouter

# Shape suffixes, as torchtitan's: B = batch, L = sequence length, E = experts, G = groups of experts, I =
# experts in a group.


class Float32Gate(Linear):
    """As DeepSeek-V3 routes: scores in float32 also where the weights are bfloat16.

    torchtitan relies on float32 autocast for this, which CPUs do not have.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(Linear.Config):
        pass

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 (the name in the sharding config)
        factors = (input, self.weight)
        plain = not any(isinstance(factor, DTensor) for factor in factors)
        if plain and all(factor.dtype is torch.bfloat16 for factor in factors):
            scores: torch.Tensor = _scores(input, self.weight)
            return scores
        return F.linear(input.float(), self.weight.float())


@torch.library.custom_op("finetune_trainer::router_scores", mutates_args=(), device_types="cuda")
def _scores(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """x (.., D) by weight [E, D], bfloat16, to float32 (.., E).

    On GPUs by their units for bfloat16, which add up in float32, where a product of two is exact.
    """
    result = torch.mm(x.flatten(0, -2), weight.t(), out_dtype=torch.float32)
    return result.view(*x.shape[:-1], -1)


@_scores.register_kernel("cpu")
def _(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return F.linear(x.float(), weight.float())


@_scores.register_fake
def _(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x.new_empty(*x.shape[:-1], len(weight), dtype=torch.float32)


@torch.library.custom_op("finetune_trainer::router_scores_backward", mutates_args=())
def _scores_backward(gradient: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """That of x, bfloat16; `gradient` as the sum of two bfloat16 numbers, which have 16 of its bits."""
    high = gradient.bfloat16()
    low = (gradient - high.float()).bfloat16()
    parts = torch.cat([high, low], dim=-1)
    return (parts.flatten(0, -2) @ torch.cat([weight, weight])).view(*gradient.shape[:-1], -1)


@_scores_backward.register_fake
def _(gradient: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return weight.new_empty(*gradient.shape[:-1], weight.shape[1])


def _keep_weight(ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor], output: torch.Tensor) -> None:
    del output
    ctx.save_for_backward(inputs[1])


def _gradients(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
    (weight,) = ctx.saved_tensors
    return _scores_backward(gradient, weight), None


_scores.register_autograd(_gradients, setup_context=_keep_weight)


class BestExpertRouter(TokenChoiceTopKRouter):
    """DeepSeek-V2's `group_limited_greedy`: groups are chosen by their best expert, not by their two best.

    Source: https://arxiv.org/abs/2405.04434, section 2.2.2 (device-limited routing).
    """

    @dataclass(kw_only=True, slots=True)
    class Config(TokenChoiceTopKRouter.Config):
        pass

    def _get_node_limited_routing_scores(
        self,
        scores_for_choice_BLE: torch.Tensor,
    ) -> torch.Tensor:
        """Scores [B, L, E], -inf for experts of groups that are not chosen."""
        assert self.num_expert_groups is not None
        assert self.num_limited_groups is not None
        shape = (*scores_for_choice_BLE.shape[:-1], self.num_expert_groups, -1)
        scores_BLGI = scores_for_choice_BLE.view(shape)
        best_BLG = scores_BLGI.amax(dim=-1)
        chosen = torch.topk(best_BLG, k=self.num_limited_groups, dim=-1, sorted=False)[1]
        left_out_BLG = torch.ones_like(best_BLG, dtype=torch.bool).scatter_(-1, chosen, False)
        return scores_BLGI.masked_fill(left_out_BLG.unsqueeze(-1), float("-inf")).flatten(-2)
