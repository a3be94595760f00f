"""What routers do otherwise than torchtitan's: the gate in float32, and DeepSeek-V2's choice of groups."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
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
        return F.linear(input.float(), self.weight.float())


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
