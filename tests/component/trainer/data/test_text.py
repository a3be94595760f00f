"""Text documents, and all of a dataset at once."""

import json

import pytest

from finetune_trainer.contract.failure import DataError
from finetune_trainer.data.chat import ChatReader
from finetune_trainer.data.formats import Reading
from finetune_trainer.data.row import Line
from finetune_trainer.data.text import text_documents
from finetune_trainer.data.tokenize import DocumentReader, Tally
from finetune_trainer.data.tokenizer import load_tokenizer


def test_a_text_begins_and_ends_once_and_all_of_it_trains(make_tokenizer):
    tokenizer = make_tokenizer()
    (document,) = text_documents(Line(place="a:1", row={"text": "It is a job."}), tokenizer, 1000)
    assert tokenizer.decode(document.tokens) == "<bos>It is a job.<eos>"
    assert all(document.trained)


def test_a_long_text_loses_no_label(make_tokenizer):
    tokenizer = make_tokenizer()
    line = Line(place="a:1", row={"text": "zqx" * 30})
    (whole,) = text_documents(line, tokenizer, 1000)
    parts = text_documents(line, tokenizer, 8)
    assert all(part.length <= 8 for part in parts)
    assert [token for part in parts for token in part.tokens[1:]] == whole.tokens[1:]


@pytest.mark.parametrize(
    "text", [pytest.param("<bos>A job.", id="begins"), pytest.param("A job.<eos>", id="ends")]
)
def test_what_a_text_begins_or_ends_with_is_not_doubled(make_tokenizer, text):
    tokenizer = make_tokenizer()
    (document,) = text_documents(Line(place="a:1", row={"text": text}), tokenizer, 1000)
    assert tokenizer.decode(document.tokens) == "<bos>A job.<eos>"


def test_what_nothing_uses_is_named(make_tokenizer):
    line = Line(place="a:1", row={"text": "A job.", "source": "web", "score": None})
    with pytest.raises(DataError, match='a:1: the row has "source", which nothing uses'):
        text_documents(line, make_tokenizer(), 1000)
    assert text_documents(line, make_tokenizer(), 1000, ("source",))


@pytest.mark.parametrize("row", [pytest.param({}, id="missing"), pytest.param({"text": " "}, id="blank")])
def test_a_line_without_text_is_named(make_tokenizer, row):
    with pytest.raises(DataError, match='a:1: no "text"'):
        text_documents(Line(place="a:1", row=row), make_tokenizer(), 8)


def test_a_dataset_is_counted(tmp_path, make_tokenizer):
    chats = [("A?", "B"), ("zq" * 50, "B"), ("A?", "zq" * 50)]
    file = tmp_path / "faq.jsonl"
    file.write_text(
        "\n".join(
            json.dumps({"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]})
            for q, a in chats
        )
    )
    reader = DocumentReader(
        files={"faq.jsonl": file}, reading=Reading(), tokenizer=make_tokenizer(), longest=20
    )
    assert len(list(reader)) == 1
    tally = reader.tally
    assert (tally.lines, dict(tally.dropped)) == (3, {"promptTooLong": 1, "answerTooLong": 1})
    assert tally.first_dropped == {"promptTooLong": ["faq.jsonl:2"], "answerTooLong": ["faq.jsonl:3"]}


def test_several_processes_read_what_one_does(tmp_path, make_tokenizer, monkeypatch):
    file = tmp_path / "faq.jsonl"
    chats = [("A?" * (number % 9), "B" * (number % 7 + 1)) for number in range(200)]
    file.write_text("\n".join(json.dumps({"prompt": q or "C", "completion": a}) for q, a in chats))
    read = {"reading": Reading(), "tokenizer": make_tokenizer(), "longest": 20}
    results = []
    for small_bytes in (file.stat().st_size + 1, 0):
        monkeypatch.setattr("finetune_trainer.data.tokenize._SMALL_BYTES", small_bytes)
        reader = DocumentReader(files={"faq.jsonl": file}, **read)
        results.append((list(reader), reader.tally))
    assert results[0] == results[1]
    assert results[0][1].dropped


def test_rows_of_which_none_trains_are_counted_and_a_dataset_of_them_is_refused(tmp_path, make_tokenizer):
    file = tmp_path / "faq.jsonl"
    rows = [
        {"messages": [{"role": "user", "content": "A?"}, {"role": "assistant", "content": "B", "weight": w}]}
        for w in (1, 0)
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    read = {"reading": Reading(), "tokenizer": make_tokenizer(), "longest": 20}
    reader = DocumentReader(files={"faq.jsonl": file}, **read)
    assert len(list(reader)) == 1
    assert reader.tally.first_dropped == {"nothingTrains": ["faq.jsonl:2"]}
    file.write_text(json.dumps(rows[1]))
    with pytest.raises(DataError, match=r"^faq\.jsonl: in none of 1 rows is a turn"):
        list(DocumentReader(files={"faq.jsonl": file}, **read))


def test_what_a_long_conversation_loses_is_counted(make_tokenizer, chat_line):
    tokenizer = make_tokenizer()
    line = chat_line("user", "A?", "assistant", "B", "user", "C?", "assistant", "D")
    (whole,) = ChatReader(tokenizer, Reading(format="chat"), 99).documents(line)
    tally = Tally()
    tally.add(whole)
    tally.add(whole.cut(6))
    assert (tally.truncated_lines, tally.tokens_cut) == (1, len(whole.tokens) - 6)


def test_chat_data_needs_a_template(tmp_path, make_tokenizer):
    file = tmp_path / "faq.jsonl"
    file.write_text('{"prompt": "A?", "completion": "B"}')
    files, reading = {"faq.jsonl": file}, Reading()
    with pytest.raises(DataError, match="has no chat template"):
        list(DocumentReader(files=files, reading=reading, tokenizer=make_tokenizer(None), longest=9))


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        pytest.param(
            lambda base: (base / "tokenizer.json").unlink(), "tokenizer.json is missing", id="missing"
        ),
        pytest.param(lambda base: (base / "tokenizer.json").write_text("{"), "cannot be read", id="damaged"),
        pytest.param(
            lambda base: (base / "tokenizer_config.json").write_text("{}"), "has no eos_token", id="no-eos"
        ),
        pytest.param(
            lambda base: (base / "chat_template.jinja").write_text("{% if %}"),
            "cannot be read",
            id="template",
        ),
    ],
)
def test_a_broken_tokenizer_is_named(make_tokenizer, breakage, message):
    folder = make_tokenizer().folder
    breakage(folder)
    with pytest.raises(DataError, match=message):
        load_tokenizer(folder)
