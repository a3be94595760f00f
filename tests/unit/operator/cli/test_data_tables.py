"""The data report as `finetune data` prints it."""

from typing import Any

import pytest
from rich.console import Console

from finetune_operator.cli.data_tables import (
    epoch_line,
    examples_text,
    files_table,
    histogram_table,
    source_names,
    sources_table,
)

FILE = {
    "name": "faq.jsonl",
    "format": "chat",
    "rows": 1200,
    "documents": 1198,
    "tokens": 20000,
    "trainedTokens": 5000,
    "longestDocument": 61,
    "histogram": {"16": 598, "64": 600},
    "truncatedLines": 7,
    "tokensCut": 90,
    "firstTruncated": ["faq.jsonl:3", "faq.jsonl:9"],
    "dropped": {"promptTooLong": 2},
    "firstDropped": {"promptTooLong": ["faq.jsonl:5", "faq.jsonl:6"]},
}
REPORT: dict[str, Any] = {
    "byFile": [FILE],
    "sources": [
        {
            "source": "datasets/faq.jsonl",
            "documents": 1198,
            "trainedTokens": 5000,
            "share": 0.7,
            "epochPasses": 1.0,
        },
        {
            "source": "hf://acme/[tools]*",
            "documents": 20,
            "trainedTokens": 100,
            "share": 0.3,
            "epochPasses": 21.43,
        },
    ],
    "sequences": 15,
    "sequenceLength": 4096,
    "packedShare": 0.9994,
    "epochSteps": 2,
    "lastStepSequences": 7,
    "batchSequences": 8,
    "steps": 6,
    "validationDocuments": 0,
    "examples": [
        {
            "place": "faq.jsonl:1",
            "tokens": 12,
            "trainedTokens": 4,
            "tokensCut": 3,
            "tokensNotShown": 0,
            "segments": [{"text": "[bold]Why?", "trained": False}, {"text": "So.<eos>", "trained": True}],
        }
    ],
}


def printed(*renderables: Any, colour: bool = False) -> str:
    console = Console(width=200, force_terminal=colour, color_system="truecolor" if colour else None)
    with console.capture() as capture:
        for renderable in renderables:
            console.print(renderable)
    return capture.get()


def test_a_source_is_a_row_with_its_part_of_an_epoch() -> None:
    head, first, second = printed(sources_table(REPORT)).splitlines()
    assert head.split() == ["SOURCE", "DOCUMENTS", "TOKENS", "THAT", "TRAIN", "SHARE", "TIMES", "AN", "EPOCH"]
    assert first.split() == ["datasets/faq.jsonl", "1,198", "5,000", "70.0%", "1"]
    assert second.split() == ["hf://acme/[tools]*", "20", "100", "30.0%", "21.4"]
    assert source_names(REPORT) == "datasets/faq.jsonl, hf://acme/[tools]*"


def test_a_file_is_a_row_with_what_is_cut_and_dropped_and_where() -> None:
    head, row = printed(files_table(REPORT)).splitlines()
    assert head.split() == [
        "FILE",
        "FORMAT",
        "ROWS",
        "DOCUMENTS",
        "TOKENS",
        "TRAIN",
        "LONGEST",
        "CUT",
        "DROPPED",
    ]
    assert row.split()[:7] == ["faq.jsonl", "chat", "1,200", "1,198", "20,000", "25.0%", "61"]
    assert "90 tokens of 7 rows (faq.jsonl:3, faq.jsonl:9, ...)" in row
    assert "2 promptTooLong (faq.jsonl:5, faq.jsonl:6)" in row


def test_the_histogram_adds_the_files_up() -> None:
    text = printed(histogram_table({"byFile": [FILE, FILE]}))
    assert [line.split()[:4] for line in text.splitlines()[1:]] == [
        ["9", "to", "16", "1,196"],
        ["33", "to", "64", "1,200"],
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, "2 steps of 8 sequences, the last of 7. The run: 6 steps.", id="smaller"),
        pytest.param({"lastStepSequences": 8}, "2 steps of 8 sequences. The run: 6 steps.", id="full"),
        pytest.param({"epochSteps": 1, "lastStepSequences": 3}, "1 step of 8 sequences, the", id="one"),
        pytest.param({"validationDocuments": 40}, "40 documents are kept to validate.", id="validation"),
    ],
)
def test_an_epoch_in_steps(fields: dict[str, Any], expected: str) -> None:
    line = epoch_line({**REPORT, **fields})
    assert line.startswith("One epoch: 15 sequences of 4,096 tokens, 99.9% full; ")
    assert expected in line


def test_what_trains_is_marked_where_there_is_no_colour() -> None:
    text = printed(*examples_text(REPORT, coloured=False))
    assert "faq.jsonl:1: 4 of 12 tokens train" in text
    assert "[bold]Why?\u27e6So.<eos>\u27e7" in text
    assert "3 tokens are cut here" in text


def test_what_trains_is_in_colour_in_a_terminal() -> None:
    text = printed(*examples_text(REPORT, coloured=True), colour=True)
    assert "\x1b[32mSo.<eos>\x1b[0m" in text
    assert "\u27e6" not in text
