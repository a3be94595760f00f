"""Rows by several processes: in their order, with the first failure of all, and nothing left behind."""

import os
import signal
from collections.abc import Iterator

import pytest

from finetune_trainer.contract.failure import DataError, OutOfMemory
from finetune_trainer.data.forked_map import forked_map

FORKS = pytest.mark.parametrize("processes", [1, 3], ids=["one process", "three"])


def failing_at(*places: int) -> Iterator[int]:
    for number in range(1000):
        if number in places:
            raise DataError(f"faq.jsonl:{number}: not JSON", remedy="Correct the line")
        yield number


@FORKS
def test_results_come_in_the_order_of_the_items(processes: int) -> None:
    offset = 7
    mapped = forked_map(lambda item: item + offset, range(1000), processes=processes)
    assert list(mapped) == [(item, item + 7) for item in range(1000)]


@FORKS
@pytest.mark.parametrize(
    ("unreadable", "refused", "named"),
    [
        pytest.param([500], [], 500, id="a row that cannot be read"),
        pytest.param([], [500], 500, id="a row that is refused"),
        pytest.param([500], [493], 493, id="the first of two that are read together"),
        pytest.param([500], [3], 3, id="the first of two that are far apart"),
        pytest.param([3], [500], 3, id="the first of two, which cannot be read"),
    ],
)
def test_the_first_failure_is_raised_as_it_was(
    unreadable: list[int], refused: list[int], named: int, processes: int
) -> None:
    def function(item: int) -> int:
        if item in refused:
            raise DataError(f"faq.jsonl:{item}: not JSON", remedy="Correct the line")
        return item

    mapped = forked_map(function, failing_at(*unreadable), processes=processes)
    with pytest.raises(DataError, match=f"faq.jsonl:{named}: not JSON. Correct the line."):
        list(mapped)


def test_a_process_that_is_killed_is_told() -> None:
    mapped = forked_map(lambda kill: os.kill(os.getpid(), kill), [signal.SIGKILL] * 100, processes=2)
    with pytest.raises(OutOfMemory, match="was killed"):
        list(mapped)


def test_only_some_items_are_ahead() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(10_000):
            taken.append(number)
            yield number

    mapped = forked_map(lambda item: item, items(), processes=2)
    next(mapped)
    assert len(taken) < 200
    mapped.close()
