"""Which answers count, and which figures are enough."""

import math
from typing import Any

import pytest

from finetune_converter.evaluate.requirement import is_met
from finetune_converter.evaluate.scoring import answer_of, is_right, perplexity

PERSON = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
CALL = {"name": "weather", "arguments": {"city": "Paris", "days": 2}}
OTHER = {"name": "time", "arguments": {}}


def called(*calls: tuple[str, str]) -> dict[str, Any]:
    functions = [{"function": {"name": name, "arguments": arguments}} for name, arguments in calls]
    return {"content": None, "tool_calls": functions}


PARIS = ("weather", '{"days": 2, "city": "Paris"}')


@pytest.mark.parametrize(
    ("metric", "expected", "message", "right"),
    [
        pytest.param("exact_match", ["yes"], {"content": " yes\n"}, True, id="white space"),
        pytest.param("exact_match", ["no", "yes"], {"content": "yes"}, True, id="one of several"),
        pytest.param("exact_match", ["yes"], {"content": "Yes"}, False, id="another case"),
        pytest.param("exact_match", ["yes"], {"content": "<think>no</think>yes"}, True, id="after a thought"),
        pytest.param("exact_match", ["yes"], {"content": None}, False, id="nothing said"),
        pytest.param("contains", ["a", "b"], {"content": "b, a"}, True, id="all of them"),
        pytest.param("contains", ["a", "b"], {"content": "b"}, False, id="one is missing"),
        pytest.param("contains", ["a"], {"content": "<think>a</think>b"}, False, id="thought alone"),
        pytest.param("regex", r"^\d+ EUR$", {"content": "12 EUR"}, True, id="pattern"),
        pytest.param("regex", r"^\d+ EUR$", {"content": "12 USD"}, False, id="no pattern"),
        pytest.param("json_schema", PERSON, {"content": '{"age": 3}'}, True, id="obeys"),
        pytest.param("json_schema", PERSON, {"content": '{"age": "3"}'}, False, id="wrong type"),
        pytest.param("json_schema", PERSON, {"content": "age 3"}, False, id="no JSON"),
        pytest.param("json_schema", PERSON, {"content": '```json\n{"age": 3}\n```'}, False, id="fenced"),
        pytest.param(
            "json_schema", {"$ref": "https://example.com/x.json"}, {"content": "{}"}, False, id="not fetched"
        ),
        pytest.param("tool_call", [CALL], called(PARIS), True, id="keys in any order"),
        pytest.param("tool_call", [CALL, OTHER], called(("time", ""), PARIS), True, id="calls in any order"),
        pytest.param("tool_call", [CALL], called(PARIS, PARIS), False, id="called twice"),
        pytest.param(
            "tool_call", [CALL], called(("weather", '{"city": "Rome"}')), False, id="other arguments"
        ),
        pytest.param("tool_call", [CALL], called(("weather", "{city")), False, id="broken arguments"),
        pytest.param("tool_call", [], {"content": "Hello"}, True, id="rightly none"),
        pytest.param("tool_call", [], called(PARIS), False, id="one too many"),
    ],
)
def test_which_answers_count(metric: str, expected: Any, message: dict[str, Any], right: bool) -> None:
    assert is_right(metric, expected, answer_of(message)) is right


def test_perplexity_counts_tokens_and_not_rows() -> None:
    assert perplexity([(-2.0, 1), (-1.0, 2)]) == pytest.approx(math.e)


@pytest.mark.parametrize(
    ("required", "base", "tuned", "lower", "met"),
    [
        pytest.param(">= 0.9", 0.0, 0.9, False, True, id="the bound itself"),
        pytest.param(">= 0.9", 1.0, 0.899, False, False, id="below it, however good the base"),
        pytest.param("<= 3", 9.0, 3.0, True, True, id="a perplexity"),
        pytest.param("<= 3", 9.0, 3.1, True, False, id="a perplexity too high"),
        pytest.param("no worse than base", 0.5, 0.5, False, True, id="the same"),
        pytest.param("no worse than base", 0.5, 0.49, False, False, id="worse"),
        pytest.param("no worse than base by 0.01", 0.5, 0.49, False, True, id="as much worse as it may be"),
        pytest.param("no worse than base by 0.01", 0.5, 0.48, False, False, id="more"),
        pytest.param("no worse than base by 0.5", 3.0, 3.4, True, True, id="a perplexity a little higher"),
        pytest.param("no worse than base", 3.0, 3.4, True, False, id="a perplexity higher"),
        pytest.param("better than base", 0.5, 0.5, False, False, id="not better"),
        pytest.param("better than base", 0.5, 0.51, False, True, id="better"),
        pytest.param("better than base by 0.1", 0.5, 0.6, False, True, id="as much better"),
        pytest.param("better than base by 0.1", 0.5, 0.59, False, False, id="not as much"),
        pytest.param("better than base by 1", 3.0, 2.0, True, True, id="a perplexity lower"),
    ],
)
def test_what_is_enough(required: str, base: float, tuned: float, lower: bool, met: bool) -> None:
    assert is_met(required, base=base, tuned=tuned, lower_is_better=lower) is met
