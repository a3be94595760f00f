"""Files that people bring: what of them trains, or is said. A case is the number its files begin with."""

# ruff: noqa: RUF001 - the tokens are written with a full-width bar

import itertools
import json
from pathlib import Path

import pytest
from deepseek_tokenizer import write_tokenizer

from finetune_trainer.contract.failure import DataError
from finetune_trainer.data.formats import Reading
from finetune_trainer.data.tokenize import DocumentReader
from finetune_trainer.data.tokenizer import load_tokenizer

CASES = Path(__file__).parent / "cases"
END = "<｜end▁of▁sentence｜>"
CALL = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>"
CALL_END = "<｜tool▁call▁end｜><｜tool▁calls▁end｜>" + END
V3 = json.loads((CASES / "40-named-templates.tokenizer_config.json").read_text())
BASE = V3 | {"chat_template": V3["chat_template"][0]["template"]}


def case_file(case):
    (file,) = (file for file in CASES.glob(f"{case}-*") if "tokenizer_config" not in file.name)
    return file


def trained(tmp_path, case, template=None, **reading):
    """The texts that train, a list a document."""
    file = case_file(case)
    configs = list(CASES.glob(f"{template}-*.tokenizer_config.json")) if template else []
    write_tokenizer(tmp_path, configs[0].read_text() if configs else json.dumps(BASE))
    tokenizer = load_tokenizer(tmp_path)
    documents = DocumentReader(
        files={file.name: file}, reading=Reading(**reading), tokenizer=tokenizer, longest=4096
    )
    return [
        [
            tokenizer.decode([token for token, _ in group])
            for learnt, group in itertools.groupby(
                zip(document.tokens, document.trained, strict=True), key=lambda pair: pair[1]
            )
            if learnt
        ]
        for document in documents
    ]


TOOLS = {"ignored": ("tools",)}
KEEP = {"keep_thoughts": True}
LONG = "Hello there, this is a somewhat longer answer that goes on for a while." + END


@pytest.mark.parametrize(
    ("case", "template", "reading", "expected"),
    [
        pytest.param("01", None, {}, [["Hello." + END]], id="sharegpt"),
        pytest.param(
            "02",
            "07",
            TOOLS,
            [
                [
                    CALL + 'function<｜tool▁sep｜>weather\n```json\n{"town": "Bern"}\n```' + CALL_END,
                    "It is sunny." + END,
                ]
            ],
            id="tool-call-of-r1",
        ),
        pytest.param(
            "02",
            "08",
            TOOLS,
            [[CALL + 'weather<｜tool▁sep｜>{"town": "Bern"}' + CALL_END, "It is sunny." + END]],
            id="tool-call-of-v3.1",
        ),
        pytest.param(
            "03",
            "08",
            {},
            [["Let me look." + CALL + 'weather<｜tool▁sep｜>{"town": "Bern"}' + CALL_END]],
            id="content-beside-a-call",
        ),
        pytest.param("04", None, TOOLS, [["Hello." + END]], id="tools-declared-unused"),
        pytest.param("05", None, {}, [["No, it is 4." + END]], id="weight-0"),
        pytest.param("05", None, {"train": "weighted"}, [["No, it is 4." + END]], id="weight-1"),
        pytest.param(
            "06", None, KEEP, [["<think>\ntwo and two make four\n</think>\n\n4" + END]], id="reasoning-kept"
        ),
        pytest.param(
            "06", None, {"ignored": ("reasoning_content",)}, [["4" + END]], id="reasoning-declared-unused"
        ),
        pytest.param("07", "07", KEEP, [["two and two make four\n</think>\n\n4" + END]], id="r1-thought"),
        pytest.param(
            "07b",
            "07",
            KEEP,
            [["a\n</think>\n\n4" + END], ["b\n</think>\n\n6" + END]],
            id="r1-thoughts-of-two-turns",
        ),
        pytest.param(
            "07b", "07", KEEP | {"train": "last"}, [["b\n</think>\n\n6" + END]], id="r1-thought-of-the-last"
        ),
        pytest.param(
            "07", None, {}, [["<think>\ntwo and two make four\n</think>\n\n4" + END]], id="v3-thought"
        ),
        pytest.param("08", "08", KEEP, [["two and two make four</think>4" + END]], id="v3.1-thought"),
        pytest.param("08b", "08", {}, [["4" + END, "6" + END]], id="v3.1-two-turns"),
        pytest.param("08b", "08", {"train": "last"}, [["6" + END]], id="the-last-turn"),
        pytest.param("09", None, {}, [["Hello." + END]], id="text-parts"),
        pytest.param("11", None, {}, [["Bonjour." + END]], id="system-column"),
        pytest.param("14", None, {}, [["Hi" + END]], id="alpaca"),
        pytest.param("14b", None, {}, [["Hi" + END]], id="prompt-completion"),
        pytest.param("20", None, {}, [["Hello." + END]] * 2, id="crlf-and-bom"),
        pytest.param("22", None, {}, [["Hello." + END]], id="gzip"),
        pytest.param("23", None, {}, [["Hello." + END]] * 2, id="json-array"),
        pytest.param("24", None, {}, [["Hello." + END]], id="pretty-json"),
        pytest.param("34", None, {}, [["Ho" + END]], id="assistant-first"),
        pytest.param("40", "40", {}, [[LONG]], id="named-templates"),
        pytest.param("41", "41", {}, [[LONG]], id="generation-tag"),
        pytest.param("49", "49", {}, [["Hello." + END]], id="tools-in-the-template"),
        pytest.param("54", None, {}, [["Hello." + END]], id="eos-in-the-answer"),
        pytest.param("59b", None, {}, [["final" + END]], id="train-flag"),
    ],
)
def test_what_trains(tmp_path, case, template, reading, expected):
    assert trained(tmp_path, case, template, **reading) == expected


@pytest.mark.parametrize(
    ("case", "template", "reading", "problem"),
    [
        pytest.param(
            "02",
            None,
            TOOLS,
            ":1: message 3: the chat template takes role tool for the assistant's",
            id="tool-role",
        ),
        pytest.param(
            "03",
            None,
            {},
            ":1: the chat template does not render the tool calls of message 2 (assistant)",
            id="call-beside-content",
        ),
        pytest.param(
            "03",
            "07",
            {},
            ":1: the chat template does not render the content of message 2 (assistant)",
            id="content-beside-a-call",
        ),
        pytest.param(
            "04",
            None,
            {},
            ':1: the row has "tools", which the base model\'s chat template does not render',
            id="tools",
        ),
        pytest.param(
            "06",
            None,
            {},
            ":1: message 2 has reasoning_content, which the base model's template does not read",
            id="reasoning",
        ),
        pytest.param(
            "07",
            "07",
            {},
            ":1: the chat template strips the thought of message 2 (assistant)",
            id="r1-thought",
        ),
        pytest.param(
            "07b",
            "07",
            {},
            ":1: the chat template strips the thought of message 2 (assistant)",
            id="r1-thoughts",
        ),
        pytest.param(
            "08",
            "08",
            {},
            ":1: the chat template strips the thought of message 2 (assistant)",
            id="v3.1-thought",
        ),
        pytest.param("10", None, {}, ":1: message 2 (assistant) has no content", id="no-content"),
        pytest.param(
            "12",
            None,
            {},
            ":1: message 1: the chat template takes role developer for the assistant's",
            id="developer",
        ),
        pytest.param(
            "01", None, {"format": "chat"}, ":1: the row is in format sharegpt, not chat", id="another-format"
        ),
        pytest.param("21", None, {}, ": the file is UTF-16", id="utf-16"),
        pytest.param(
            "26b",
            None,
            {},
            ":1: not JSON: a comma after the object; JSON lines have one object per line and nothing between",
            id="trailing-comma",
        ),
        pytest.param(
            "26c",
            None,
            {},
            ":1: not JSON: \\ud800 is half a character: its other half is missing",
            id="surrogate",
        ),
        pytest.param("26d", None, {}, ":1: not JSON: a NUL character (\\u0000) in a text", id="nul"),
        pytest.param(
            "35",
            None,
            {},
            ":1: the content of message 2 (assistant) is a number (4), not text; write it in quotes",
            id="number",
        ),
        pytest.param(
            "54b",
            None,
            {},
            f":1: message 2 (assistant) holds the control token {END} in its text",
            id="turns-in-an-answer",
        ),
    ],
)
def test_what_is_said(tmp_path, case, template, reading, problem):
    with pytest.raises(DataError) as caught:
        trained(tmp_path, case, template, **reading)
    assert caught.value.message == f"{case_file(case).name}{problem}"
    assert caught.value.exit_code == 3
