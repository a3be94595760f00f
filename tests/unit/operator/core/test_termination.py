"""How a container ended."""

import json
from datetime import UTC, datetime

import pytest

from finetune_operator.core.termination import Termination, cause_of, parse_termination

LINE = json.dumps({"reason": "DatasetInvalid", "message": "faq.jsonl:3: no JSON.", "remedy": "Mend line 3"})


@pytest.mark.parametrize(
    ("code", "log", "reason", "sentence"),
    [
        pytest.param(
            3, LINE, "DatasetInvalid", "faq.jsonl:3: no JSON. Mend line 3", id="the contract's line"
        ),
        pytest.param(
            3, f"chatter\n{LINE}\n", "DatasetInvalid", "faq.jsonl:3: no JSON. Mend line 3", id="after output"
        ),
        pytest.param(1, "Traceback\nKeyError: 'x'\n", "Failed", "KeyError: 'x'", id="a traceback"),
        pytest.param(137, "", "Killed", "It ended with exit code 137", id="nothing"),
        pytest.param(10, "[1]", "OutOfMemory", "[1]", id="JSON, but no object"),
        pytest.param(-9, "", "Failed", "It ended with exit code -9", id="an unknown code"),
    ],
)
def test_parse(code: int, log: str, reason: str, sentence: str) -> None:
    termination = parse_termination(code, log)
    assert (termination.reason, termination.sentence) == (reason, sentence)


def ended(code: int, second: int) -> Termination:
    moment = datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)
    return Termination(exit_code=code, reason="R", message="m", finished_at=moment)


@pytest.mark.parametrize(
    ("codes", "cause"),
    [
        pytest.param([], None, id="none"),
        pytest.param([11, 10, 143], 10, id="lost peers are consequences"),
        pytest.param([10, 3], 3, id="what cannot be retried comes first"),
        pytest.param([1, 13], 1, id="the first real one"),
        pytest.param([143, 11], 143, id="only consequences: the first"),
    ],
)
def test_cause(codes: list[int], cause: int | None) -> None:
    found = cause_of(tuple(ended(code, second) for second, code in enumerate(codes)))
    assert (found.exit_code if found else None) == cause
