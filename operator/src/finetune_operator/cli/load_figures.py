"""What a load of requests came to: rates, and how long tokens took."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Request:
    """A chat that was answered, or refused; times are seconds of one clock."""

    sent: float
    tokens_at: tuple[float, ...] = ()
    """When each piece of the answer came: one token, or several where a draft was accepted."""
    input_tokens: int = 0
    output_tokens: int = 0
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class Percentiles:
    """Of milliseconds."""

    p50: float
    p90: float
    p99: float


@dataclass(frozen=True, kw_only=True)
class Figures:
    """A load, in the terms of `vllm bench serve`."""

    concurrency: int
    requests: int
    failed: int
    seconds: float
    requests_per_second: float
    input_tokens_per_second: float
    output_tokens_per_second: float
    input_tokens: float
    """Of a request, on average."""
    ttft: Percentiles | None
    """Time to the first token."""
    tpot: Percentiles | None
    """Time per output token after the first, of each request."""
    itl: Percentiles | None
    """Inter-token latency: between two pieces of an answer."""

    def to_dict(self) -> dict[str, Any]:
        """Return them as JSON's objects."""
        return asdict(self)


def figures_of(concurrency: int, requests: Sequence[Request], seconds: float) -> Figures:
    """Return the figures of a load that took so many seconds. What failed counts as nothing but failed."""
    answered = [request for request in requests if not request.failure]
    output = sum(request.output_tokens for request in answered)
    taken = sum(request.input_tokens for request in answered)
    return Figures(
        concurrency=concurrency,
        requests=len(answered),
        failed=len(requests) - len(answered),
        seconds=round(seconds, 3),
        requests_per_second=round(len(answered) / seconds, 3),
        input_tokens_per_second=round(taken / seconds, 1),
        output_tokens_per_second=round(output / seconds, 1),
        input_tokens=round(taken / max(1, len(answered)), 1),
        ttft=_percentiles([r.tokens_at[0] - r.sent for r in answered if r.tokens_at]),
        tpot=_percentiles([_per_token(request) for request in answered if request.output_tokens > 1]),
        itl=_percentiles([b - a for request in answered for a, b in pairwise(request.tokens_at)]),
    )


def _per_token(request: Request) -> float:
    return (request.tokens_at[-1] - request.tokens_at[0]) / (request.output_tokens - 1)


def _percentiles(seconds: list[float]) -> Percentiles | None:
    if not seconds:
        return None
    ordered = sorted(seconds)

    def at(percent: int) -> float:
        """By the nearest rank: a time that was measured."""
        rank = -(-percent * len(ordered) // 100)
        return round(1000 * ordered[max(rank, 1) - 1], 2)

    return Percentiles(p50=at(50), p90=at(90), p99=at(99))
