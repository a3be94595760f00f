"""The loss, with logits of those tokens only that count: masked prompts cost no product with the head."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torchtitan.components.loss import IGNORE_INDEX, ChunkedLossWrapper

# Shape suffixes, as torchtitan's: B = batch, L = sequence length, D = model dimension, C = tokens that count,
# padded to whole pieces.

# Pieces are of a multiple of that many tokens: of few sizes, and whole tiles of a matrix product.
_MULTIPLE = 256


class CountedTokensLoss(ChunkedLossWrapper):
    """`ChunkedLossWrapper` of the tokens with a label, packed, in equal pieces of at most `piece` tokens.

    At 671B's vocabulary the head is a quarter of what two layers compute, and a chat's prompts are masked.
    Each rank may have another number of pieces: the head is gathered once for all of them.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(ChunkedLossWrapper.Config):
        piece: int = 4096

    def __init__(self, config: Config, **options: Any) -> None:
        super().__init__(config, **options)
        self.piece = config.piece

    def __call__(
        self,
        pred: torch.Tensor,
        labels: torch.Tensor,
        global_valid_tokens: torch.Tensor | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Sum over tokens by their number. `pred`: states [B, L, D]; labels [B, L]."""
        counted = (labels.flatten() != IGNORE_INDEX).nonzero().flatten()  # waits for the GPU, once a batch
        self.num_chunks = max(1, math.ceil(len(counted) / self.piece))
        length = _round_up(math.ceil(len(counted) / self.num_chunks))
        missing = self.num_chunks * length - len(counted)
        states_1CD = F.pad(pred.flatten(0, 1).index_select(0, counted), (0, 0, 0, missing))[None]
        targets_1C = F.pad(labels.flatten()[counted], (0, missing), value=IGNORE_INDEX)[None]
        return super().__call__(states_1CD, targets_1C, global_valid_tokens)


def _round_up(tokens: int) -> int:
    return max(1, math.ceil(tokens / _MULTIPLE)) * _MULTIPLE
