"""The loss of pairs, computed in pieces, is the formula's; so are its gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchtitan.components.loss import IGNORE_INDEX

from finetune_trainer.train.preference_loss import PreferenceLoss

DIM, VOCABULARY, LENGTH = 8, 32, 96
# Of each row: pairs of documents, by positions, and of each document how many are a prompt's.
ROWS = [[(20, 25), (12, 9)], [(40, 31)], []]
PROMPT = 4
BETA = 0.3


@pytest.fixture
def head() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(DIM, VOCABULARY, bias=False).requires_grad_(False)


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Positions, targets and pair labels."""
    shape = (len(ROWS), LENGTH)
    positions, targets = torch.zeros(shape, dtype=torch.int64), torch.full(shape, IGNORE_INDEX)
    labels = torch.full(shape, IGNORE_INDEX)
    for row, pairs in enumerate(ROWS):
        filled = 0
        for chosen, rejected in pairs:
            labels[row, filled] = filled + chosen
            for size in (chosen, rejected):
                positions[row, filled : filled + size] = torch.arange(size)
                targets[row, filled + PROMPT : filled + size] = torch.arange(size - PROMPT) % VOCABULARY
                filled += size
        positions[row, filled:] = torch.arange(LENGTH - filled)
    return positions, targets, labels


def by_formula(
    states: torch.Tensor, reference: torch.Tensor, head: nn.Module, loss_type: str
) -> torch.Tensor:
    """The mean over pairs, document by document, from whole logits."""
    _, targets, _ = batch()
    logps = -F.cross_entropy(
        head(states).flatten(0, 1), targets.flatten(), reduction="none", ignore_index=IGNORE_INDEX
    ).view(targets.shape)
    theirs = -F.cross_entropy(
        head(reference).flatten(0, 1), targets.flatten(), reduction="none", ignore_index=IGNORE_INDEX
    ).view(targets.shape)
    losses = []
    for row, pairs in enumerate(ROWS):
        filled = 0
        for sizes in pairs:
            ratios, means = [], []
            for size in sizes:
                part = slice(filled, filled + size)
                ratios.append((logps[row, part] - theirs[row, part]).sum())
                means.append(ratios[-1] / (size - PROMPT))
                filled += size
            margin = ratios[0] - ratios[1]
            losses.append(
                {
                    "sigmoid": -F.logsigmoid(BETA * margin),
                    "hinge": torch.relu(1 - BETA * margin),
                    "ipo": (means[0] - means[1] - 1 / (2 * BETA)) ** 2,
                }[loss_type]
            )
    return torch.stack(losses).mean()


@pytest.mark.parametrize("loss_type", ["sigmoid", "hinge", "ipo"])
@pytest.mark.parametrize("piece", [pytest.param(4096, id="in one piece"), pytest.param(50, id="in pieces")])
def test_it_is_the_formula(head: nn.Module, loss_type: str, piece: int) -> None:
    states = torch.randn(len(ROWS), LENGTH, DIM, requires_grad=True)
    before = states.detach() + 0.1 * torch.randn(states.shape)
    loss = PreferenceLoss.Config(piece=piece, beta=BETA, loss_type=loss_type).build()
    loss.set_lm_head(head)
    positions, targets, labels = batch()
    reference = loss.log_probabilities(before, targets, positions)
    inputs = {"targets": targets, "positions": positions, "reference": reference}
    ours, _ = loss(states, labels, torch.tensor(3), **inputs)
    expected = by_formula(states, before, head, loss_type)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, states)[0] for value in (ours, expected)))
    with torch.no_grad():
        measured, _ = loss(states.detach(), labels, **inputs)
    torch.testing.assert_close(measured, 3 * expected.detach())


def test_a_rank_without_a_pair_adds_nothing(head: nn.Module) -> None:
    states = torch.randn(1, LENGTH, DIM, requires_grad=True)
    loss = PreferenceLoss.Config().build()
    loss.set_lm_head(head)
    nothing = torch.full((1, LENGTH), IGNORE_INDEX)
    positions = torch.arange(LENGTH)[None]
    reference = loss.log_probabilities(states.detach(), nothing, positions)
    value, _ = loss(
        states, nothing, torch.tensor(5), targets=nothing, positions=positions, reference=reference
    )
    value.backward()
    assert (value.item(), states.grad.abs().sum().item()) == (0, 0)
