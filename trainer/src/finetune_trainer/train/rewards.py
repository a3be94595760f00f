"""What a model makes of preference pairs, as TRL's metrics rewards/* and logps/* have it."""

import math
from dataclasses import dataclass, fields

import torch

from finetune_trainer.distributed.agreement import gather_numbers


@dataclass(frozen=True, kw_only=True)
class Rewards:
    """Means over pairs. A reward is beta times the log ratio of the model and its reference."""

    chosen: float
    rejected: float
    accuracy: float
    """The share of pairs whose chosen answer has the greater reward."""
    logps_chosen: float
    """The log probability of a whole answer."""
    logps_rejected: float

    @property
    def margin(self) -> float:
        return self.chosen - self.rejected


class RewardMeter:
    """Adds up, on the device, what `Rewards` are means of."""

    def __init__(self) -> None:
        self._sums = _nothing()

    def note(self, rewards: torch.Tensor, logps: torch.Tensor) -> None:
        """Of pairs, [2, pairs] each: of the chosen answers and of the rejected ones."""
        right = (rewards[0] > rewards[1]).sum()
        pairs = torch.tensor(rewards.shape[1], device=rewards.device)
        sums = torch.stack([part.double() for part in (*rewards.sum(1), right, *logps.sum(1), pairs)])
        self._sums = self._sums.to(rewards.device) + sums

    def take(self) -> Rewards | None:
        """Of all ranks' pairs since this was last asked; None if there were none. Every rank has to ask."""
        by_rank = gather_numbers(self._sums.tolist())
        self._sums = _nothing()
        *summed, pairs = (math.fsum(column) for column in zip(*by_rank, strict=True))
        if not pairs:
            return None
        names = [field.name for field in fields(Rewards)]
        return Rewards(**{name: total / pairs for name, total in zip(names, summed, strict=True)})


def _nothing() -> torch.Tensor:
    return torch.zeros(len(fields(Rewards)) + 1, dtype=torch.float64)
