"""What is computed again decides nothing anew."""

import pytest
import torch
from torch import nn

from finetune_trainer.model.recompute import RECOMPUTE


class Wavering(nn.Module):
    """A router whose scores are others each time, as those are of attention that rounds otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))
        self.times = 0
        self.chosen: list[list[int]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = (x * self.weight).roll(self.times)
        self.times += 1
        experts = torch.topk(scores, k=2).indices
        self.chosen.append(experts.tolist())
        return (x * self.weight)[experts].square().sum()


@pytest.mark.parametrize("recompute", ["selective", "full"])
def test_tokens_go_to_the_same_experts_again(recompute: str) -> None:
    policy, router = RECOMPUTE[recompute], Wavering()
    model = nn.Module()
    model.layers = nn.ModuleDict({"0": router})
    assert policy is not None
    policy.build().apply(model)
    model.layers["0"](torch.arange(8.0)).backward()
    assert router.chosen == [[7, 6], [7, 6]]
    assert router.weight.grad is not None
    assert router.weight.grad.nonzero().flatten().tolist() == [6, 7]
