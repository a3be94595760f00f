"""The loss of preference pairs: direct preference optimisation (https://arxiv.org/abs/2305.18290).

A pair's loss is known only when all logits of its two documents were seen, which never are there at once. But
a state's gradient is that of its own token's log probability, times what the pair's loss gives for the whole
answer's: so log probabilities and their gradients are taken piece by piece, and weighed afterwards.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torchtitan.components.loss import IGNORE_INDEX, BaseLoss
from torchtitan.config import CompileConfig

from finetune_trainer.train.loss import CountedTokensLoss
from finetune_trainer.train.rewards import RewardMeter

LossType = Literal["sigmoid", "hinge", "ipo"]

# Shape suffixes: B = batch, L = sequence length, D = model dimension, V = vocabulary, P = pairs.


class TokenLosses(BaseLoss):
    """Cross entropy, which keeps what each token's is."""

    @dataclass(kw_only=True, slots=True)
    class Config(BaseLoss.Config):
        pass

    def __init__(self, config: Config, *, compile_config: CompileConfig | None = None) -> None:
        self.config = config
        self.fn = _token_losses
        self._maybe_compile(compile_config)
        self.seen: list[torch.Tensor] = []

    def __call__(
        self, pred: torch.Tensor, labels: torch.Tensor, _count: torch.Tensor | None = None, **_: Any
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        losses = self.fn(pred, labels)
        self.seen.append(losses.detach())
        return losses.sum(), {}


class PreferenceLoss(CountedTokensLoss):
    """The mean of the pairs' losses, in TRL's terms: beta, and loss_type sigmoid, hinge or ipo."""

    @dataclass(kw_only=True, slots=True)
    class Config(CountedTokensLoss.Config):
        loss_fn: BaseLoss.Config = field(default_factory=TokenLosses.Config)
        beta: float = 0.1
        loss_type: LossType = "sigmoid"

    loss_fn: TokenLosses

    def __init__(self, config: Config, **options: Any) -> None:
        super().__init__(config, **options)
        self._beta = config.beta
        self._of_pairs = _LOSSES[config.loss_type]
        self.meter = RewardMeter()

    def __call__(
        self,
        pred: torch.Tensor,
        labels: torch.Tensor,
        global_valid_tokens: torch.Tensor | None = None,
        **inputs: torch.Tensor,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Sum over pairs by their number.

        pred: states [B, L, D]. labels [B, L]: where a chosen document begins, the place where its rejected
        one does. Of inputs are taken targets [B, L], the next tokens, of the answers alone; positions [B, L];
        reference [B, L], as `log_probabilities` has it.
        """
        targets, reference = inputs["targets"], inputs["reference"]
        starts = _starts(inputs["positions"])
        states = pred.detach().requires_grad_(pred.requires_grad)
        negative, sums = self._summed(states, targets, starts)
        counts = _sums(starts, targets != IGNORE_INDEX)
        rows, chosen = (labels != IGNORE_INDEX).nonzero(as_tuple=True)
        places = torch.stack([chosen, labels[rows, chosen]])
        with torch.enable_grad():
            ratios = (sums - reference).requires_grad_()
            losses = self._of_pairs(ratios[rows, places], counts[rows, places], self._beta)
            loss = losses.sum() / (1 if global_valid_tokens is None else global_valid_tokens)
            (weights,) = torch.autograd.grad(loss, ratios)
        self.meter.note(self._beta * ratios.detach()[rows, places], sums[rows, places])
        if not pred.requires_grad:
            return loss.detach(), {}
        negative.backward()  # type: ignore[no-untyped-call]
        assert states.grad is not None
        per_token = -weights.gather(1, starts).unsqueeze(-1)
        return _Weighted.apply(pred, (states.grad * per_token).to(pred.dtype), loss.detach()), {}

    def log_probabilities(
        self, pred: torch.Tensor, targets: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor:
        """Of each document's answer, at the document's first place; float32 [B, L], and 0 elsewhere."""
        return self._summed(pred, targets, _starts(positions))[1]

    def _summed(
        self, states: torch.Tensor, targets: torch.Tensor, starts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The negative log probability of all tokens together, and each document's own."""
        self.loss_fn.seen = []
        negative, _ = super().__call__(states, targets)
        seen, self.loss_fn.seen = torch.cat(self.loss_fn.seen), []
        counted = targets != IGNORE_INDEX
        tokens = torch.zeros_like(targets, dtype=torch.float32)
        tokens[counted] = -seen[: int(counted.sum())]
        return negative, _sums(starts, tokens)


class _Weighted(torch.autograd.Function):
    """A loss whose gradient is known."""

    @staticmethod
    def forward(ctx: Any, _states: torch.Tensor, gradient: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gradient)
        return loss.detach()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return ctx.saved_tensors[0] * gradient, None, None


def _token_losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """[tokens], 0 where there is no label."""
    return F.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), reduction="none", ignore_index=IGNORE_INDEX
    )


def _starts(positions: torch.Tensor) -> torch.Tensor:
    """Where each token's document begins, [B, L]."""
    return torch.arange(positions.shape[1], device=positions.device) - positions


def _sums(starts: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Of each document, at its first place; float32 [B, L]."""
    return torch.zeros_like(values, dtype=torch.float32).scatter_add(1, starts, values.float())


def _sigmoid(ratios: torch.Tensor, _counts: torch.Tensor, beta: float) -> torch.Tensor:
    return -F.logsigmoid(beta * (ratios[0] - ratios[1]))


def _hinge(ratios: torch.Tensor, _counts: torch.Tensor, beta: float) -> torch.Tensor:
    """SLiC (https://arxiv.org/abs/2305.10425)."""
    return torch.relu(1 - beta * (ratios[0] - ratios[1]))


def _ipo(ratios: torch.Tensor, counts: torch.Tensor, beta: float) -> torch.Tensor:
    """IPO (https://arxiv.org/abs/2310.12036, eq. 17), of log ratios a token, as its authors told TRL."""
    means = ratios / counts.clamp(min=1)
    return (means[0] - means[1] - 1 / (2 * beta)) ** 2


_LOSSES: Mapping[LossType, Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]] = {
    "sigmoid": _sigmoid,
    "hinge": _hinge,
    "ipo": _ipo,
}
