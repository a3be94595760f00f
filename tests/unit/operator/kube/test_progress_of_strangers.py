"""The poller, hours long, among pods that answer whatever they like."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_time import run
from strange_pods import poll_for_hours

PODS, HOURS = 6, 0.5


@pytest.fixture(scope="module", autouse=True)
def silence() -> Iterator[None]:
    """What is logged of each failure is not looked at here."""
    logger = logging.getLogger("finetune_operator.kube.progress")
    logger.disabled = True
    yield
    logger.disabled = False


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 2**32))
def test_nothing_that_pods_answer_ends_the_poller_or_holds_it_up(seed: int) -> None:
    answers, news = run(poll_for_hours(seed, HOURS, PODS))
    assert answers >= PODS * 0.5 * HOURS * 3600 / 12.5
    assert news > 0
