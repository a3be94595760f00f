"""Expert parallelism's exchange of tokens over gloo."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.distributed._functional_collectives import all_to_all_single
from torchtitan.models.common.token_dispatcher import AllToAllTokenDispatcher


class SingleBufferTokenDispatcher(AllToAllTokenDispatcher):
    """Exchanges tokens as one buffer with split sizes.

    torchtitan's default sends a list of buffers, whose sizes gloo wants all equal. Can go when gloo's
    alltoall takes uneven ones.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(AllToAllTokenDispatcher.Config):
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
