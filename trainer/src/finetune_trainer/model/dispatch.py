"""How tokens get to their experts and back: without atomic additions on one rank, over gloo between ranks."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.distributed._functional_collectives import all_to_all_single
from torchtitan.models.common.token_dispatcher import AllToAllTokenDispatcher, LocalDispatchMetadata


@dataclass(frozen=True, kw_only=True)
class GatherMetadata(LocalDispatchMetadata):
    """`order_N`: the (token, choice) of each row that the experts see; `places_N`: the row of each choice."""

    order_N: torch.Tensor  # noqa: N815
    places_N: torch.Tensor  # noqa: N815
    scores_TK: torch.Tensor  # noqa: N815


class GatheringTokenDispatcher(AllToAllTokenDispatcher):
    """On one rank, sorts tokens by expert and sums what the experts return by gathering only.

    torchtitan adds up in a deterministic scatter, forward, and sorts for the gradient's sum, backward. As
    every choice of an expert has a row of its own, both are gathers along a permutation, and fuse with what
    surrounds them.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(AllToAllTokenDispatcher.Config):
        pass

    def dispatch(
        self,
        x_TD: torch.Tensor,  # noqa: N803
        topk_scores_TK: torch.Tensor,  # noqa: N803
        topk_expert_ids_TK: torch.Tensor,  # noqa: N803
        num_local_tokens_per_expert_E: torch.Tensor,  # noqa: N803
    ) -> tuple[torch.Tensor, torch.Tensor, Any]:
        if self.ep_mesh is not None:
            return super().dispatch(x_TD, topk_scores_TK, topk_expert_ids_TK, num_local_tokens_per_expert_E)
        order = torch.argsort(topk_expert_ids_TK.reshape(-1), stable=True)
        places = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        choices = x_TD.repeat_interleave(self.top_k, dim=0)
        metadata = GatherMetadata(
            token_indices_experts_sorted_N=order // self.top_k,
            topk_scores_experts_sorted_N=topk_scores_TK,
            order_N=order,
            places_N=places,
            scores_TK=topk_scores_TK,
        )
        return permuted(choices, order, places), num_local_tokens_per_expert_E, metadata

    def combine(self, routed_output_RD: torch.Tensor, metadata: Any, x_TD: torch.Tensor) -> torch.Tensor:  # noqa: N803
        if self.ep_mesh is not None:
            return super().combine(routed_output_RD, metadata, x_TD)
        choices = permuted(routed_output_RD, metadata.places_N, metadata.order_N)
        choices = choices.view(len(x_TD), self.top_k, -1).float()
        return (choices * metadata.scores_TK.unsqueeze(-1)).sum(dim=1).to(x_TD.dtype)


class _Permuted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, order: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(inverse)
        return rows[order]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return gradient[inverse], None, None


def permuted(rows: torch.Tensor, order: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
    """rows[order], whose gradient is a gather too: `inverse` is the permutation that undoes `order`."""
    result: torch.Tensor = _Permuted.apply(rows, order, inverse)
    return result


class SingleBufferTokenDispatcher(GatheringTokenDispatcher):
    """Exchanges tokens over gloo as one buffer with split sizes.

    torchtitan's default sends a list of buffers, whose sizes gloo wants all equal. Can go when gloo's
    alltoall takes uneven ones.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(GatheringTokenDispatcher.Config):
        pass

    def _dispatch_token_exchange(
        self,
        routed_input_ND: torch.Tensor,  # noqa: N803
        pg: Any,
        output_splits: list[int],
        input_splits: list[int],
    ) -> torch.Tensor:
        return _exchange(routed_input_ND, output_splits, input_splits, pg)

    def _combine_token_exchange(
        self,
        routed_output_RD: torch.Tensor,  # noqa: N803
        pg: Any,
        input_splits: list[int],
        output_splits: list[int],
    ) -> torch.Tensor:
        return _exchange(routed_output_RD, input_splits, output_splits, pg)


def _exchange(tokens: torch.Tensor, received: list[int], sent: list[int], group: Any) -> torch.Tensor:
    exchanged: torch.Tensor = all_to_all_single(tokens.contiguous(), received, sent, group)
    return torch.ops._c10d_functional.wait_tensor(exchanged)
