"""The loss of the tokens that count is the loss of all, and so are its gradients."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchtitan.components.loss import IGNORE_INDEX, ChunkedLossWrapper, CrossEntropyLoss

from finetune_trainer.train.loss import CountedTokensLoss

BATCH, LENGTH, DIM, VOCABULARY = 2, 512, 8, 32
Mask = Callable[[torch.Tensor], torch.Tensor]


@pytest.fixture
def head() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(DIM, VOCABULARY, bias=False).requires_grad_(False)


def _loss(config: ChunkedLossWrapper.Config, head: nn.Module) -> ChunkedLossWrapper:
    loss: ChunkedLossWrapper = config.build()
    loss.set_lm_head(head)
    return loss


@pytest.mark.parametrize("trains", [pytest.param(True, id="training"), pytest.param(False, id="validation")])
@pytest.mark.parametrize(
    ("keeps", "piece", "pieces"),
    [
        pytest.param(lambda index: index >= 0, 512, 2, id="all"),
        pytest.param(lambda index: index >= 0, 400, 3, id="in pieces that do not divide a sequence"),
        pytest.param(lambda index: index % 3 == 0, 512, 1, id="a third"),
        pytest.param(lambda index: index >= 400, 512, 2, id="more than a piece"),
        pytest.param(lambda index: index == 1000, 512, 1, id="one"),
        pytest.param(lambda index: index < 0, 512, 1, id="none"),
    ],
)
def test_it_is_the_loss_of_all_tokens(
    head: nn.Module, keeps: Mask, piece: int, pieces: int, trains: bool
) -> None:
    states = torch.randn(BATCH, LENGTH, DIM, requires_grad=trains)
    index = torch.arange(BATCH * LENGTH).view(BATCH, LENGTH)
    labels = torch.where(keeps(index), index % VOCABULARY, IGNORE_INDEX)
    counted = _loss(CountedTokensLoss.Config(piece=piece, loss_fn=CrossEntropyLoss.Config()), head)
    whole = _loss(ChunkedLossWrapper.Config(num_chunks=1, loss_fn=CrossEntropyLoss.Config()), head)
    # The trainer gives all inputs of the model to the loss, too.
    losses = [loss(states, labels, torch.tensor(100.0), positions=index)[0] for loss in (counted, whole)]
    torch.testing.assert_close(*losses)
    assert counted.num_chunks == pieces
    if trains:
        torch.testing.assert_close(*(torch.autograd.grad(loss, states)[0] for loss in losses))


def test_few_sizes_are_multiplied_with_the_head(head: nn.Module) -> None:
    sizes: set[torch.Size] = set()
    head.register_forward_hook(lambda _module, inputs, _output: sizes.add(inputs[0].shape))
    loss = _loss(CountedTokensLoss.Config(piece=512, loss_fn=CrossEntropyLoss.Config()), head)
    for count in range(1, BATCH * LENGTH, 50):
        labels = torch.full((BATCH * LENGTH,), IGNORE_INDEX)
        labels[:count] = 1
        loss(torch.randn(BATCH, LENGTH, DIM), labels.view(BATCH, LENGTH), torch.tensor(1.0))
    assert sizes == {torch.Size((1, tokens, DIM)) for tokens in (256, 512)}
