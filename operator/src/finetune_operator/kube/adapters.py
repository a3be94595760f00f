"""GET /adapters of the servers that take adapters: what each has is what it tells, and nothing else."""

from finetune_operator.kube.server_poller import Question
from finetune_operator.serving.server_adapters import (
    MAX_ANSWER_BYTES,
    InvalidAdaptersError,
    parse_adapters,
)

ADAPTERS = Question(
    path="/adapters",
    is_for=lambda spec, _: bool(spec.get("adapters")),
    parse=parse_adapters,
    invalid=InvalidAdaptersError,
    most_bytes=MAX_ANSWER_BYTES,
    period_seconds=5,
    at_once=64,
)
