"""The poller, hours long, among pods that answer whatever hypothesis likes.

`python bench/survival.py` goes on with the same to a million answers.
"""

import logging
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_time import run
from strange_pods import ANSWERS, Answer, poll

PODS = 6


@pytest.fixture(scope="module", autouse=True)
def silence() -> Iterator[None]:
    """What is logged of each failure is not looked at here."""
    logger = logging.getLogger("finetune_operator.kube.progress")
    logger.disabled = True
    yield
    logger.disabled = False


@settings(max_examples=25, deadline=None)
@given(st.lists(ANSWERS, min_size=20, max_size=40), st.integers(0, 2**32))
def test_nothing_that_pods_answer_ends_the_poller_or_holds_it_up(answers: list[Answer], seed: int) -> None:
    seconds = run(poll(answers, Random(seed), PODS))
    assert seconds <= 600 + 60 * len(answers)
