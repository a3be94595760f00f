"""The router's scores in bfloat16 are those of float32, and so is their gradient, rounded once."""

import torch

from finetune_trainer.model.router import Float32Gate

TOKENS, SIZE, EXPERTS = 64, 256, 16


def test_scores_and_gradient_are_those_of_float32() -> None:
    generator = torch.Generator().manual_seed(0)
    gate = Float32Gate.Config(in_features=SIZE, out_features=EXPERTS).build()
    weight = torch.randn(EXPERTS, SIZE, generator=generator).bfloat16()
    gate.weight = torch.nn.Parameter(weight, requires_grad=False)
    x = torch.randn(2, TOKENS, SIZE, generator=generator).bfloat16().requires_grad_()
    scores = gate(x)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, x.float() @ weight.float().t())
    gradient = torch.randn(scores.shape, generator=generator)
    (ours,) = torch.autograd.grad(scores, x, gradient)
    exact = gradient.double() @ weight.double()
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.double(), exact, rtol=2**-8, atol=2**-8)
