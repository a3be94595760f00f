"""How unevenly tokens are spread over experts, and over ranks that would share them."""

from collections.abc import Sequence
from statistics import median
from typing import Any

import torch

from finetune_trainer.train import expert_load

RANKS = (2, 4, 8, 16, 32)
_MOST_UNEVEN = expert_load.most_uneven


def expert_counts() -> list[torch.Tensor]:
    """Filled, as steps are logged, with the tokens of each expert: (layers, experts) a step."""
    counts: list[torch.Tensor] = []

    def noted(summed: torch.Tensor, layers: Sequence[int], ranks: int) -> expert_load.ExpertLoad:
        counts.append(summed)
        return _MOST_UNEVEN(summed, layers, ranks)

    expert_load.most_uneven = noted
    return counts


def imbalance(counts: list[torch.Tensor]) -> dict[str, Any]:
    """Tokens of the fullest of so many ranks that share the experts over their mean, the median and the
    greatest of the steps; as many ranks as experts: those of the fullest expert."""
    if not counts:
        return {}
    experts = counts[0].shape[1]
    told = {}
    for ranks in (*RANKS, experts):
        loads = [summed.view(len(summed), ranks, -1).sum(dim=2) for summed in counts]
        ratios = [float((load.amax(dim=1) / load.mean(dim=1)).max()) for load in loads]
        told[str(ranks)] = {"median": round(median(ratios), 3), "greatest": round(max(ratios), 3)}
    return told
