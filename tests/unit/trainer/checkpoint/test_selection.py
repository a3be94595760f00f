"""Which checkpoint becomes the adapter."""

import math
from pathlib import Path

import pytest

from finetune_trainer.checkpoint.selection import Select, choose, read_losses, write_losses

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


def test_nothing_is_chosen_of_nothing() -> None:
    assert choose("best", LOSSES, []) is None


def test_losses_are_read_as_written_without_what_is_not_finite(tmp_path: Path) -> None:
    assert read_losses(tmp_path) == {}
    write_losses(tmp_path / "checkpoints", {2: 1.25, 4: math.nan, 10: 0.1})
    assert read_losses(tmp_path / "checkpoints") == {2: 1.25, 10: 0.1}
    assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == ["validation.json"]
