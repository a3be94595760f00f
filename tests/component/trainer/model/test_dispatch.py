"""Tokens to experts and back by gathering: what torchtitan's scatter gives, and its gradients."""

import torch
from torchtitan.models.common.token_dispatcher import AllToAllTokenDispatcher

from finetune_trainer.model.dispatch import GatheringTokenDispatcher

TOKENS, CHOICES, EXPERTS, SIZE = 6, 2, 4, 8


def test_gathering_gives_what_scattering_gives() -> None:
    generator = torch.Generator().manual_seed(0)
    experts = torch.stack([torch.randperm(EXPERTS, generator=generator)[:CHOICES] for _ in range(TOKENS)])
    counts = torch.bincount(experts.flatten(), minlength=EXPERTS)
    settings = {"num_experts": EXPERTS, "top_k": CHOICES}
    results = []
    for dispatcher in (
        GatheringTokenDispatcher(GatheringTokenDispatcher.Config(**settings)),
        AllToAllTokenDispatcher(AllToAllTokenDispatcher.Config(**settings)),
    ):
        generator.manual_seed(1)
        x = torch.randn(TOKENS, SIZE, generator=generator, requires_grad=True)
        scores = torch.rand(TOKENS, CHOICES, generator=generator, requires_grad=True)
        rows, _, metadata = dispatcher.dispatch(x, scores, experts, counts)
        # Each row as an expert of its own would change it.
        changed = rows * torch.repeat_interleave(torch.arange(1.0, EXPERTS + 1), counts).unsqueeze(1)
        output = dispatcher.combine(changed, metadata, x)
        results.append((rows, output, *torch.autograd.grad(output.square().sum(), (x, scores))))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)
