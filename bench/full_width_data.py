"""The sequences that both sides train on: one document each, every token counts, and they can be learnt."""

from functools import cache

import torch

WORDS = 1024


def batch(step: int, *, batch_size: int, length: int) -> torch.Tensor:
    """Tokens (batch_size, length + 1) of a step: nine times in ten the successor of the one before."""
    generator = torch.Generator().manual_seed(step)
    drawn = torch.randint(0, WORDS, (batch_size, length + 1), generator=generator)
    restarts = torch.rand(drawn.shape, generator=generator) >= 0.9
    restarts[:, 0] = True
    positions = torch.arange(length + 1).expand_as(drawn)
    origins = torch.where(restarts, positions, 0).cummax(dim=1).values
    distances = positions - origins
    return _successors(int(distances.max()) + 1)[distances, drawn.gather(1, origins)]


@cache
def _successors(distance: int) -> torch.Tensor:
    """(distance, WORDS): the word that follows each at every distance."""
    successor = torch.randperm(WORDS, generator=torch.Generator().manual_seed(0))
    rows = [torch.arange(WORDS)]
    for _ in range(distance - 1):
        rows.append(successor[rows[-1]])
    return torch.stack(rows)
