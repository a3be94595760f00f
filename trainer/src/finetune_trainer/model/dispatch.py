"""How tokens get to their experts and back: by gathers instead of scatters, and over gloo too."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.distributed._functional_collectives import all_to_all_single
from torchtitan.distributed.spmd_types import current_spmd_mesh, maybe_set_sparse_mesh
from torchtitan.models.common.token_dispatcher import AllToAllTokenDispatcher, LocalDispatchMetadata

# Shape suffixes, as torchtitan's: T = tokens of a rank, D = model dimension, K = experts a token, N = routed
# tokens (T*K), R = routed tokens that this rank's experts get, E = experts.


class GatheringTokenDispatcher(AllToAllTokenDispatcher):
    """Sorts a rank's tokens by expert and sums what the experts return by gathering only.

    torchtitan adds up in a deterministic scatter, forward, which on GPUs sorts an index for every number, and
    sorts for the gradient's sum, backward. As every choice of an expert has a row of its own, both are
    gathers along a permutation, and fuse with what surrounds them.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(AllToAllTokenDispatcher.Config):
        pass

    def dispatch(
        self,
        x_TD: torch.Tensor,
        topk_scores_TK: torch.Tensor,
        topk_expert_ids_TK: torch.Tensor,
        num_local_tokens_per_expert_E: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, Any]:
        if self.ep_mesh is not None:
            return super().dispatch(x_TD, topk_scores_TK, topk_expert_ids_TK, num_local_tokens_per_expert_E)
        choices_ND, order_N, _ = self._local_reorder(x_TD, topk_scores_TK, topk_expert_ids_TK)
        metadata = LocalDispatchMetadata(
            token_indices_experts_sorted_N=order_N, topk_scores_experts_sorted_N=topk_scores_TK
        )
        return choices_ND, num_local_tokens_per_expert_E, metadata

    def _local_reorder(
        self,
        x_TD: torch.Tensor,
        topk_scores_TK: torch.Tensor,
        topk_expert_ids_TK: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The rows that the experts see, the (token, choice) of each of them, and the scores as they are.

        torchtitan only hands the last two on to `combine`.
        """
        order_N = torch.argsort(topk_expert_ids_TK.reshape(-1), stable=True)
        choices_ND = x_TD.repeat_interleave(self.top_k, dim=0)
        return permuted(choices_ND, order_N, inverse(order_N)), order_N, topk_scores_TK

    def scores_of_rows(self, topk_scores_TK: torch.Tensor, metadata: Any) -> torch.Tensor:
        """The scores [R] of the rows that this rank's experts get, as `dispatch` has ordered these."""
        order_N = metadata.token_indices_experts_sorted_N
        scores_N1 = permuted(topk_scores_TK.reshape(-1, 1), order_N, inverse(order_N))
        if self.ep_mesh is None:
            return scores_N1.squeeze(1)
        with maybe_set_sparse_mesh():
            mesh = current_spmd_mesh() or self.ep_mesh
            assert mesh is not None
            received_R1 = self._dispatch_token_exchange(
                scores_N1, mesh.get_group("ep"), metadata.output_splits, metadata.input_splits
            )
        order_R = metadata.permuted_indices
        # The view: compiled, the sum of what each rank sent is an unknown.
        return permuted(received_R1.view(len(order_R), 1), order_R, inverse(order_R)).squeeze(1)

    def _permute(
        self, routed_input_RD: torch.Tensor, num_global_tokens_per_local_expert_E: torch.Tensor
    ) -> tuple[Any, torch.Tensor, torch.Tensor, torch.Tensor]:
        """torchtitan's order; its gradient adds rows up in a scatter."""
        nothing_R0 = routed_input_RD.detach()[:, :0]
        _, _, order_R, counts_E = super()._permute(nothing_R0, num_global_tokens_per_local_expert_E)
        rows_RD = routed_input_RD.view(len(order_R), -1)
        return routed_input_RD.shape, permuted(rows_RD, order_R, inverse(order_R)), order_R, counts_E

    def _unpermute(
        self, routed_output_RD: torch.Tensor, _input_shape: Any, permuted_indices: torch.Tensor
    ) -> torch.Tensor:
        return permuted(routed_output_RD, inverse(permuted_indices), permuted_indices)

    def combine(self, routed_output_RD: torch.Tensor, metadata: Any, x_TD: torch.Tensor) -> torch.Tensor:
        """Sum what each token's experts made of it, by its scores where the experts have not used these."""
        order_N, rows_ND = metadata.token_indices_experts_sorted_N, routed_output_RD
        if self.ep_mesh is not None:  # the view: compiled, the sum of what each rank returned is an unknown
            rows_ND = self._returned(routed_output_RD, metadata).view(len(order_N), x_TD.shape[-1])
        choices_ND = permuted(rows_ND, inverse(order_N), order_N)
        choices_TKD = choices_ND.view(len(x_TD), self.top_k, -1).float()
        if (scores_TK := metadata.topk_scores_experts_sorted_N) is not None:
            choices_TKD = choices_TKD * scores_TK.unsqueeze(-1)
        return choices_TKD.sum(dim=1).to(x_TD.dtype)

    def _returned(self, routed_output_RD: torch.Tensor, metadata: Any) -> torch.Tensor:
        """What the ranks' experts made of this rank's rows, in the order of `_local_reorder`."""
        with maybe_set_sparse_mesh():
            mesh = current_spmd_mesh() or self.ep_mesh
            assert mesh is not None
            rows_RD = self._unpermute(routed_output_RD, metadata.input_shape, metadata.permuted_indices)
            returned_ND: torch.Tensor = self._combine_token_exchange(
                rows_RD, mesh.get_group("ep"), metadata.input_splits, metadata.output_splits
            )
            return returned_ND


class _Permuted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, order: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(back)
        return rows[order]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (back,) = ctx.saved_tensors
        return gradient[back], None, None


def inverse(order: torch.Tensor) -> torch.Tensor:
    """The permutation that undoes `order`."""
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))


def permuted(rows: torch.Tensor, order: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
    """rows[order], whose gradient is a gather too: `back` is the permutation that undoes `order`."""
    result: torch.Tensor = _Permuted.apply(rows, order, back)
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
        routed_input_ND: torch.Tensor,
        pg: Any,
        output_splits: list[int],
        input_splits: list[int],
    ) -> torch.Tensor:
        return _exchange(routed_input_ND, output_splits, input_splits, pg)

    def _combine_token_exchange(
        self,
        routed_output_RD: torch.Tensor,
        pg: Any,
        input_splits: list[int],
        output_splits: list[int],
    ) -> torch.Tensor:
        return _exchange(routed_output_RD, input_splits, output_splits, pg)


def _exchange(tokens: torch.Tensor, received: list[int], sent: list[int], group: Any) -> torch.Tensor:
    exchanged: torch.Tensor = all_to_all_single(tokens.contiguous(), received, sent, group)
    return torch.ops._c10d_functional.wait_tensor(exchanged)
