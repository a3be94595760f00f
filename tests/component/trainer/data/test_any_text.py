"""Whatever people write: what trains is what the assistant said, or the row is named."""

# ruff: noqa: RUF001 - the tokens are written with a full-width bar

import itertools
import json
import re
from pathlib import Path

import pytest
from deepseek_tokenizer import EOS, write_tokenizer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune_trainer.contract.failure import DataError
from finetune_trainer.data.chat import ChatReader
from finetune_trainer.data.formats import Reading
from finetune_trainer.data.row import Line
from finetune_trainer.data.tokenizer import load_tokenizer

CASES = Path(__file__).parent / "cases"
PIECES = (
    "a",
    "user",
    "Assistant",
    " ",
    "\n",
    "é",
    "日本",
    "<",
    '"',
    "\\",
    "{x}",
    "{{",
    "<think>",
    "</think>",
    EOS,
    "<｜User｜>",
)
texts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join).filter(str.strip)
turns = st.lists(st.tuples(texts, texts), min_size=1, max_size=3)


@pytest.fixture(scope="module", params=["07-r1-think", "08-v31-think", "41-generation-tag"])
def reader(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    write_tokenizer(folder, (CASES / f"{request.param}.tokenizer_config.json").read_text())
    tokenizer = load_tokenizer(folder)
    return tokenizer, [
        ChatReader(tokenizer, Reading(format="chat", keep_thoughts=keep), 4096) for keep in (False, True)
    ]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=turns, keep=st.booleans())
def test_what_trains_is_what_the_assistant_said(reader, said, keep):
    tokenizer, readers = reader
    messages = [
        {"role": role, "content": text}
        for pair in said
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    try:
        documents = readers[keep].documents(
            Line(place="a:1", row=json.loads(json.dumps({"messages": messages})))
        )
    except DataError:
        return
    trained = sorted(text for document in documents for text in trained_texts(tokenizer, document))
    answers = sorted(answer for _, answer in said)
    assert len(trained) == len(answers)
    for text in trained:
        assert text.endswith(EOS)
        assert text.count(EOS) == 1
    assert sorted(map(essence, trained)) == sorted(map(essence, answers))


def trained_texts(tokenizer, document):
    groups = itertools.groupby(zip(document.tokens, document.trained, strict=True), key=lambda pair: pair[1])
    return [tokenizer.decode([token for token, _ in group]) for learnt, group in groups if learnt]


def essence(text):
    """Without what a prompt or a template writes for an answer: its end, the tags it begins with, space."""
    return re.sub(r"^(</?think>)+", "", re.sub(r"\s", "", text.replace(EOS, "")))
