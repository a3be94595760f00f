"""The figures of a load."""

import pytest

from finetune_operator.cli.load_figures import Percentiles, Request, figures_of


def request(sent: float, *tokens_at: float, output_tokens: int | None = None) -> Request:
    count = len(tokens_at) if output_tokens is None else output_tokens
    return Request(sent=sent, tokens_at=tokens_at, input_tokens=100, output_tokens=count)


def times(milliseconds: float) -> Percentiles:
    return Percentiles(p50=milliseconds, p90=milliseconds, p99=milliseconds)


def test_rates_are_of_all_requests_and_times_of_each() -> None:
    figures = figures_of(2, [request(0.0, 0.1, 0.2, 0.3), request(1.0, 1.1, 1.2, 1.3)], 2.0)
    assert (figures.requests, figures.failed, figures.requests_per_second) == (2, 0, 1.0)
    assert (figures.input_tokens_per_second, figures.output_tokens_per_second) == (100.0, 3.0)
    assert (figures.ttft, figures.tpot, figures.itl) == (times(100), times(100), times(100))


def test_a_piece_of_two_tokens_counts_as_two_but_is_one_piece() -> None:
    """As speculative decoding gives them."""
    figures = figures_of(1, [request(0.0, 0.1, 0.3, 0.5, output_tokens=5)], 1.0)
    assert (figures.output_tokens_per_second, figures.tpot, figures.itl) == (5.0, times(100), times(200))


def test_what_failed_is_counted_and_has_no_time() -> None:
    figures = figures_of(1, [Request(sent=0.0, failure="503"), request(0.0, 0.1)], 1.0)
    assert (figures.requests, figures.failed, figures.ttft) == (1, 1, times(100))


def test_an_answer_of_one_token_has_no_time_per_token() -> None:
    figures = figures_of(1, [request(0.0, 0.1)], 1.0)
    assert (figures.tpot, figures.itl) == (None, None)


@pytest.mark.parametrize(("count", "expected"), [(1, (1, 1, 1)), (10, (5, 9, 10)), (200, (100, 180, 198))])
def test_percentiles_are_of_times_that_were_measured(count: int, expected: tuple[int, int, int]) -> None:
    figures = figures_of(1, [request(0.0, n / 1000) for n in range(1, count + 1)], 1.0)
    assert figures.ttft is not None
    assert (figures.ttft.p50, figures.ttft.p90, figures.ttft.p99) == expected
