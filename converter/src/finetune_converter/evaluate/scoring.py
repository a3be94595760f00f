"""Whether an answer is what is expected. Pure."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_END_OF_THOUGHT = "</think>"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model wrote, its thoughts left out."""

    text: str
    calls: tuple[dict[str, Any], ...] = field(default=())
    """Name and arguments; the text of the arguments where that is no JSON."""


def answer_of(message: Mapping[str, Any]) -> Answer:
    """The answer in a message of the API. A thought that the server left in the text is not part of it."""
    text = (message.get("content") or "").rpartition(_END_OF_THOUGHT)[2].strip()
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    return Answer(
        text=text, calls=tuple({"name": each["name"], "arguments": _parsed(each)} for each in calls)
    )


def is_right(metric: str, expected: Any, answer: Answer) -> bool:
    """Whether an answer counts, by `evaluation.tasks.metric`."""
    return _METRICS[metric](expected, answer)


def perplexity(logprobs: Sequence[tuple[float, int]]) -> float:
    """exp of the mean negative log-likelihood of a token: of sums of log-probabilities and their counts."""
    tokens = sum(count for _, count in logprobs)
    return math.exp(-sum(total for total, _ in logprobs) / tokens)


def _exact_match(expected: list[str], answer: Answer) -> bool:
    return answer.text in [text.strip() for text in expected]


def _contains(expected: list[str], answer: Answer) -> bool:
    return all(text in answer.text for text in expected)


def _regex(expected: str, answer: Answer) -> bool:
    return re.search(expected, answer.text) is not None


def _json_schema(expected: dict[str, Any], answer: Answer) -> bool:
    # Only this metric needs it. The registry is empty, so that no $ref is fetched.
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        value = json.loads(answer.text)
    except ValueError:
        return False
    try:
        registry: Registry[Any] = Registry()
        return bool(validator_for(expected)(expected, registry=registry).is_valid(value))
    except Unresolvable:
        return False


def _tool_call(expected: list[dict[str, Any]], answer: Answer) -> bool:
    """The same calls, in any order: those of one turn are made side by side."""
    return sorted(map(_canonical, expected)) == sorted(map(_canonical, answer.calls))


def _canonical(call: dict[str, Any]) -> str:
    return json.dumps(call, sort_keys=True)


def _parsed(function: Mapping[str, Any]) -> Any:
    try:
        return json.loads(function.get("arguments") or "{}")
    except ValueError:
        return function["arguments"]


_METRICS: Mapping[str, Callable[[Any, Answer], bool]] = {
    "exact_match": _exact_match,
    "contains": _contains,
    "regex": _regex,
    "json_schema": _json_schema,
    "tool_call": _tool_call,
}
