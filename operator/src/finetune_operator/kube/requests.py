"""GET /metrics of the servers of canaries, whose requests decide how far they go.

A server that does not answer has told nothing: its canary goes no further then.
"""

from finetune_operator.kube.server_poller import Question
from finetune_operator.serving.children.names import CANARY
from finetune_operator.serving.server_requests import (
    MAX_ANSWER_BYTES,
    InvalidMetricsError,
    parse_metrics,
)

REQUESTS = Question(
    path="/metrics",
    is_for=lambda spec, server: bool(spec.get("rollout", {}).get("canary")) and server.component == CANARY,
    parse=parse_metrics,
    invalid=InvalidMetricsError,
    most_bytes=MAX_ANSWER_BYTES,
    period_seconds=10,
    at_once=16,
)
