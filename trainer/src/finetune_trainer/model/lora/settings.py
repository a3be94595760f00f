"""The numbers of LoRA (Hu et al., https://arxiv.org/abs/2106.09685), as run.json and PEFT name them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, kw_only=True)
class LoRASettings:
    """Every adapted weight W becomes W + scaling * B @ A, with A (rank, in) and B (out, rank)."""

    rank: int
    alpha: float
    dropout: float = 0.0
    use_rslora: bool = False
    dora: bool = False
    """Then each row is scaled to a norm that is trained (Liu et al., https://arxiv.org/abs/2402.09353)."""

    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    """Of single modules, by the last part of their names in a Hugging Face checkpoint, as PEFT's patterns."""

    def of(self, module: str) -> "LoRASettings":
        """Those of one module."""
        rank, alpha = self.rank_pattern.get(module, self.rank), self.alpha_pattern.get(module, self.alpha)
        return replace(self, rank=rank, alpha=alpha, rank_pattern={}, alpha_pattern={})

    @property
    def scaling(self) -> float:
        """alpha / rank, or alpha / sqrt(rank) (rank-stabilised, https://arxiv.org/abs/2312.03732)."""
        return self.alpha / (math.sqrt(self.rank) if self.use_rslora else self.rank)
