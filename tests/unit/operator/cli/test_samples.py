"""What `finetune run` and `watch` show of a job's samples: each round once."""

from typing import Any

import pytest

from finetune_operator.cli.display import PlainDisplay


def parent(step: int, text: str) -> dict[str, Any]:
    progress = {"stage": "train", "samplesStep": step, "samples": [{"prompt": "Who are\nyou?", "text": text}]}
    return {
        "kind": "FineTuneJob",
        "metadata": {"name": "faq", "uid": "u-1"},
        "status": {"progress": progress},
    }


def test_every_round_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    display = PlainDisplay()
    for each in (
        parent(0, "A model"),
        parent(0, "A model"),
        parent(50, "ACME's model"),
        parent(50, "ACME's model"),
    ):
        display.show([each])
    assert [line for line in capsys.readouterr().out.splitlines() if "->" in line] == [
        "FineTuneJob faq: before training: Who are you? -> A model",
        "FineTuneJob faq: step 50: Who are you? -> ACME's model",
    ]
