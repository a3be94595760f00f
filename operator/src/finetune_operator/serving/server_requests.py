"""What a server counts of its requests, by vLLM's own metrics: answers by endpoint, first tokens by time.

https://docs.vllm.ai/en/latest/design/metrics and prometheus-fastapi-instrumentator's http_requests_total.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self, TypeVar

from prometheus_client.parser import text_string_to_metric_families

_Key = TypeVar("_Key")

MAX_ANSWER_BYTES = 2**20
_REQUESTS = "http_requests_total"
_FIRST_TOKEN = "vllm:time_to_first_token_seconds_bucket"


class InvalidMetricsError(Exception):
    """The answer is something else."""


@dataclass(frozen=True, kw_only=True)
class ServerRequests:
    """Since the servers started."""

    answered: Mapping[str, float] = field(default_factory=dict)
    """Requests, by endpoint."""
    failed: Mapping[str, float] = field(default_factory=dict)
    """Those that were answered with 5xx."""
    first_tokens: Mapping[float, float] = field(default_factory=dict)
    """Requests whose first token came within so many seconds."""

    @classmethod
    def of(cls, servers: Iterable[Self]) -> Self:
        """Return those of several servers together."""
        every = list(servers)
        return cls(
            answered=_sum(server.answered for server in every),
            failed=_sum(server.failed for server in every),
            first_tokens=_sum(server.first_tokens for server in every),
        )

    @property
    def count(self) -> int:
        """All requests."""
        return int(sum(self.answered.values()))

    @property
    def error_percent(self) -> float:
        """Of a hundred requests those that failed, at the endpoint with most: one hides no other."""
        shares = (self.failed.get(name, 0) / count for name, count in self.answered.items() if count)
        return 100 * max(shares, default=0.0)

    def first_token_within(self, share: float) -> float | None:
        """Return the seconds within which such a share had its first token; None where none had.

        Linear within a bucket, as Prometheus' histogram_quantile; beyond the last bound infinite.
        """
        buckets = sorted(self.first_tokens.items())
        total = buckets[-1][1] if buckets else 0
        if not total:
            return None
        rank, low, below = share * total, 0.0, 0.0
        for bound, count in buckets:
            if count >= rank:
                return (
                    low + (bound - low) * (rank - below) / (count - below) if bound < math.inf else math.inf
                )
            low, below = bound, count
        return math.inf


def parse_metrics(body: bytes) -> ServerRequests:
    """Return what a server counts. Raises InvalidMetricsError for anything else than Prometheus' text."""
    if len(body) > MAX_ANSWER_BYTES:
        raise InvalidMetricsError(f"more than {MAX_ANSWER_BYTES} bytes")
    answered, failed = defaultdict[str, float](float), defaultdict[str, float](float)
    first_tokens = defaultdict[float, float](float)
    try:
        for (name, told), value in _counts(body.decode()).items():
            labels = dict(told)
            if name == _REQUESTS:
                endpoint = labels.get("handler", "")
                answered[endpoint] += value
                failed[endpoint] += value if labels.get("status", "").startswith("5") else 0
            elif name == _FIRST_TOKEN:
                first_tokens[float(labels["le"])] += value
    except (ValueError, KeyError, IndexError) as error:
        raise InvalidMetricsError(str(error)) from None
    return ServerRequests(answered=answered, failed=failed, first_tokens=first_tokens)


def _sum(counts: Iterable[Mapping[_Key, float]]) -> dict[_Key, float]:
    total = defaultdict[_Key, float](float)
    for each in counts:
        for key, value in each.items():
            total[key] += value
    return dict(total)


def _counts(text: str) -> Mapping[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return values by name and labels.

    Of a server whose API is several processes a count of requests is there twice: that of all of them, and,
    by the way its instrumentator is registered (vllm/entrypoints/serve/instrumentator/metrics.py), that of
    the process that answers, which is less.
    """
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in (_REQUESTS, _FIRST_TOKEN) and 0 <= sample.value < math.inf:
                key = (sample.name, frozenset(sample.labels.items()))
                found[key] = max(sample.value, found.get(key, 0))
    return found
