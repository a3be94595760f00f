"""What vLLM's /metrics say of a server's requests; and anything else that a pod may answer."""

import math

import pytest

from finetune_operator.serving.server_requests import (
    MAX_ANSWER_BYTES,
    InvalidMetricsError,
    ServerRequests,
    parse_metrics,
)

METRICS = b"""\
# HELP vllm:time_to_first_token_seconds Histogram of time to first token in seconds.
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.5",model_name="faq"} 60.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="1.0",model_name="faq"} 90.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="faq"} 100.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="0.5",model_name="faq"} 100.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="1.0",model_name="faq"} 100.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="+Inf",model_name="faq"} 100.0
vllm:time_to_first_token_seconds_count{engine="0",model_name="faq"} 100.0
# HELP http_requests_total Total number of requests by method, status and handler.
# TYPE http_requests_total counter
http_requests_total{handler="/v1/completions",method="POST",status="2xx"} 95.0
http_requests_total{handler="/v1/completions",method="POST",status="5xx"} 5.0
http_requests_total{handler="/v1/chat/completions",method="POST",status="2xx"} 6.0
http_requests_total{handler="/v1/chat/completions",method="POST",status="4xx"} 2.0
http_requests_total{handler="/v1/chat/completions",method="POST",status="5xx"} 2.0
"""


def test_all_engines_and_the_worst_endpoint() -> None:
    counted = parse_metrics(METRICS)
    assert counted.count == 110
    assert counted.error_percent == 20.0
    assert counted.first_token_within(0.95) == 1.0
    assert counted.first_token_within(0.4) == 0.25
    assert counted.first_token_within(0.99) == math.inf


def test_a_server_whose_api_is_several_processes() -> None:
    """As prometheus_client writes it: all of them, then once more the one that answers."""
    own = b'http_requests_total{handler="/v1/completions",method="POST",status="2xx"} 20.0\n'
    assert parse_metrics(METRICS + own) == parse_metrics(METRICS)


def test_several_servers_together() -> None:
    counted = parse_metrics(METRICS)
    both = ServerRequests.of([counted, counted])
    assert (both.count, both.error_percent) == (220, 20.0)
    assert both.first_token_within(0.95) == 1.0


def test_one_that_has_answered_nobody() -> None:
    counted = parse_metrics(b"# nothing yet\n")
    assert (counted.count, counted.error_percent, counted.first_token_within(0.95)) == (0, 0.0, None)


@pytest.mark.parametrize(
    "value", [pytest.param(value, id=value.decode()) for value in (b"NaN", b"+Inf", b"-1")]
)
def test_what_is_no_count_is_none(value: bytes) -> None:
    assert parse_metrics(b'http_requests_total{handler="/",status="5xx"} %b\n' % value).count == 0


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>", id="a page"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b'http_requests_total{handler="/" 1\n', id="an open brace"),
        pytest.param(b"http_requests_total x\n", id="no number"),
        pytest.param(b"vllm:time_to_first_token_seconds_bucket 1\n", id="no bound"),
        pytest.param(b"#" * (MAX_ANSWER_BYTES + 1), id="too much"),
    ],
)
def test_junk_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidMetricsError):
        parse_metrics(body)
