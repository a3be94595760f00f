"""What an adapter adds to a weight."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class LowRankTensors:
    """fp32 a [rank, columns], b [rows, rank]: the update is scale * b @ a (Hu et al., arXiv 2106.09685)."""

    a: torch.Tensor
    b: torch.Tensor
    scale: float

    def add_to(self, band: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """fp32 band [stop - start, columns] of the weight plus the update, in place."""
        return band.addmm_(self.b[start:stop], self.a, alpha=self.scale)
