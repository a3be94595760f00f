"""What an adapter adds to a weight."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class LowRankTensors:
    """fp32 a [rank, columns], b [rows, rank]: the update is scale * b @ a (Hu et al., arXiv 2106.09685).

    With DoRA's magnitude [rows] each row of the sum is scaled to that norm (Liu et al., arXiv 2402.09353).
    """

    a: torch.Tensor
    b: torch.Tensor
    scale: float
    magnitude: torch.Tensor | None = None

    def add_to(self, band: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """fp32 band [stop - start, columns] of the weight plus the update, in place."""
        summed = band.addmm_(self.b[start:stop], self.a, alpha=self.scale)
        if self.magnitude is None:
            return summed
        norms = torch.linalg.vector_norm(summed, dim=1, dtype=torch.float64)
        return summed.mul_((self.magnitude[start:stop] / norms).float().unsqueeze(1))
