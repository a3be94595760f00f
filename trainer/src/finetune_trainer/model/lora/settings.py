"""The numbers of LoRA (Hu et al., https://arxiv.org/abs/2106.09685), as run.json and PEFT name them."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LoRASettings:
    """Every adapted weight W becomes W + scaling * B @ A, with A (rank, in) and B (out, rank)."""

    rank: int
    alpha: float
    dropout: float = 0.0
    use_rslora: bool = False
    dora: bool = False
    """Then each row is scaled to a norm that is trained (Liu et al., https://arxiv.org/abs/2402.09353)."""

    @property
    def scaling(self) -> float:
        """alpha / rank, or alpha / sqrt(rank) (rank-stabilised, https://arxiv.org/abs/2312.03732)."""
        return self.alpha / (math.sqrt(self.rank) if self.use_rslora else self.rank)
