"""docs/guides/failures.md has what is said in the words of the code; UPDATE_GOLDEN=1 writes them anew."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune_operator.core import wait_reason
from finetune_operator.finetune import reasons as finetune
from finetune_operator.serving import reasons as serving

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs/guides/failures.md"


def waits() -> str:
    """What is waited for, and what to do."""
    rows = (
        f"| {reason} | {_filled(advice.what)} | {advice.remedy} |"
        for reason, advice in wait_reason.MESSAGES.items()
    )
    return "\n".join(["| what it is | message says | what to do |", "|---|---|---|", *rows])


def reasons() -> str:
    """What conditions say, by their reasons."""
    rows = [
        f"| {kind} | {reason} | {_filled(message)} |"
        for kind, messages in (
            ("FineTuneJob", finetune.MESSAGES),
            ("ModelDeployment", serving.MESSAGES),
        )
        for reason, message in messages.items()
    ]
    return "\n".join(["| of a | reason | message |", "|---|---|---|", *rows])


def stages() -> str:
    """Why a stage failed."""
    rows = (
        f"| {reason} | {said['exitCode']} | {said['meaning']} |"
        for reason, said in json.loads((ROOT / "contract/reasons.json").read_text()).items()
    )
    return "\n".join(["| reason | exit code | what it is |", "|---|---|---|", *rows])


def _filled(message: str) -> str:
    return re.sub(r"\{\w+\}", "…", message)


@pytest.mark.parametrize("table", [waits, reasons, stages])
def test_the_guide_says_what_the_code_says(table: Callable[[], str]) -> None:
    begin, end = f"<!-- {table.__name__}: generated -->\n", f"<!-- end of {table.__name__} -->\n"
    section = f"{begin}{table()}\n{end}"
    if os.environ.get("UPDATE_GOLDEN"):
        text = GUIDE.read_text()
        GUIDE.write_text(f"{text.partition(begin)[0]}{section}{text.partition(end)[2]}")
    assert section in GUIDE.read_text()


@pytest.mark.parametrize(
    ("reason", "messages"),
    [
        *((reason, wait_reason.MESSAGES) for reason in wait_reason.WaitReason),
        *((reason, serving.MESSAGES) for reason in serving.ServingReason),
    ],
)
def test_every_reason_has_its_words(reason: str, messages: dict[str, object]) -> None:
    assert reason in messages
