import pytest
import torch

from finetune_trainer.model.lora import dropout
from finetune_trainer.model.lora.dropout import hashed_dropout


def _kept(shape: tuple[int, int], probability: float, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return hashed_dropout(torch.ones(shape), probability) != 0


@pytest.mark.parametrize("probability", [0.05, 0.1, 0.5, 0.9])
def test_so_many_values_are_dropped_in_every_row_and_column(probability: float) -> None:
    kept = _kept((2000, 1000), probability).float()
    deviation = (probability * (1 - probability)) ** 0.5
    assert kept.mean().item() == pytest.approx(1 - probability, abs=5 * deviation / 2000**0.5 / 1000**0.5)
    for dim, size in ((0, 2000), (1, 1000)):
        assert (kept.mean(dim) - (1 - probability)).abs().max() < 5 * deviation / size**0.5


def test_rows_columns_and_calls_do_not_go_together() -> None:
    first, second = (_kept((500, 400), 0.5, seed).double() for seed in (0, 1))
    rows, columns = torch.corrcoef(first), torch.corrcoef(first.T)
    assert (rows - torch.eye(500)).abs().max() < 6 / 400**0.5
    assert (columns - torch.eye(400)).abs().max() < 6 / 500**0.5
    assert torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1].abs() < 5 / 200_000**0.5


def test_the_rest_is_scaled_and_gets_the_gradient() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 32, requires_grad=True)
    output = hashed_dropout(x, 0.25)
    output.sum().backward()
    kept = output != 0
    torch.testing.assert_close(output, torch.where(kept, x / 0.75, 0))
    torch.testing.assert_close(x.grad, kept / 0.75)


def test_the_generator_moves_on_alike_at_any_number_of_rows() -> None:
    states = []
    for rows in (0, 1, 700):
        _kept((rows, 256), 0.1)
        states.append(torch.get_rng_state())
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


def test_ranks_drop_differently(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = []
    for rank in range(2):
        monkeypatch.setattr(dropout, "_this_rank", lambda rank=rank: rank)
        masks.append(_kept((500, 400), 0.5).double().flatten())
    assert torch.corrcoef(torch.stack(masks))[0, 1].abs() < 5 / 200_000**0.5
