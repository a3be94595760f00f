"""Which checkpoint becomes the adapter."""

import math
from pathlib import Path

import pytest

from finetune_trainer.checkpoint.selection import (
    Select,
    choose,
    has_stalled,
    read_losses,
    write_losses,
)

LOSSES = {10: 2.0, 20: 1.5, 30: 1.5, 40: 1.75}


@pytest.mark.parametrize(
    ("select", "losses", "saved", "said"),
    [
        pytest.param("last", LOSSES, [10, 20, 30, 40], "step 40: the last one", id="last"),
        pytest.param("best", LOSSES, [10, 20, 30, 40], "step 20: the least validation loss", id="ties"),
        pytest.param("best", LOSSES, [30, 40], "step 30: the least validation loss", id="gone"),
        pytest.param("best", {10: 0.5}, [20, 30], "step 30: the last one, as no saved", id="none of them"),
        pytest.param("best", {}, [20, 30], "step 30: the last one, as no saved", id="nothing held out"),
        pytest.param("best", {20: math.nan, 30: 9.0}, [20, 30], "step 30: the least", id="not a number"),
        pytest.param("best", {20: -math.inf, 30: 9.0}, [20, 30], "step 30: the least", id="infinite"),
    ],
)
def test_choice(select: Select, losses: dict[int, float], saved: list[int], said: str) -> None:
    assert str(choose(select, losses, saved)).startswith(said)


@pytest.mark.parametrize(
    ("losses", "patience", "stalled"),
    [
        pytest.param(LOSSES, None, False, id="no patience asked for"),
        pytest.param(LOSSES, 3, False, id="two since the best"),
        pytest.param(LOSSES, 2, True, id="an equal loss is no better"),
        pytest.param({0: 1.0, 10: 2.0}, 1, True, id="worse than before training"),
        pytest.param({0: 1.0, 10: 0.5, 20: math.nan, 30: 0.4}, 1, False, id="one that is not finite"),
        pytest.param({0: math.nan, 10: math.nan}, 1, False, id="none is finite"),
        pytest.param({}, 1, False, id="none yet"),
    ],
)
def test_training_ends_when_patience_does(
    losses: dict[int, float], patience: int | None, stalled: bool
) -> None:
    assert has_stalled(losses, patience) is stalled


@pytest.mark.parametrize(
    ("losses", "why"),
    [
        pytest.param(
            {0: 3.0, 10: 2.0, 20: 2.5, 30: 2.25},
            "the least validation loss of the saved steps, 2, 3 before training; "
            "stopped at step 30, as the last 2 validations found none that is less",
            id="better",
        ),
        pytest.param(
            {0: 1.0, 10: 2.0, 20: 2.5},
            "the least validation loss of the saved steps, 2, no better than 1 before training; "
            "stopped at step 20, as the last 2 validations found none that is less",
            id="worse than the base",
        ),
    ],
)
def test_a_selection_says_what_training_came_to(losses: dict[int, float], why: str) -> None:
    chosen = choose("best", losses, [10, 20, 30], patience=2)
    assert chosen is not None
    assert (chosen.step, chosen.why, chosen.stopped_early) == (10, why, True)
    assert (chosen.first_validation_loss, chosen.validation_loss) == (losses[0], 2.0)


def test_nothing_is_chosen_of_nothing() -> None:
    assert choose("best", LOSSES, []) is None


def test_losses_are_read_as_written_without_what_is_not_finite(tmp_path: Path) -> None:
    assert read_losses(tmp_path) == {}
    write_losses(tmp_path / "checkpoints", {2: 1.25, 4: math.nan, 10: 0.1})
    assert read_losses(tmp_path / "checkpoints") == {2: 1.25, 10: 0.1}
    assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == ["validation.json"]
