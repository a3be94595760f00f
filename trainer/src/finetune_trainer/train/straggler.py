"""Which rank the others wait for: the one that takes longest for what it does alone."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SlowestRank:
    rank: int
    slowdown: float
    """Its time over that of a rank in the middle; 1 where all are as fast."""


def slowest_rank(seconds: Sequence[float]) -> SlowestRank | None:
    """seconds: of each rank, for what it does alone. None for a single rank, or where one's is unknown."""
    if len(seconds) < 2 or not all(seconds):
        return None
    slowest = max(range(len(seconds)), key=seconds.__getitem__)
    return SlowestRank(rank=slowest, slowdown=seconds[slowest] / statistics.median_low(seconds))
