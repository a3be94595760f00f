"""Preference pairs of every form: what they become, and what is said of wrong ones."""

import json

import pytest
import torch

from finetune_trainer.contract.failure import DataError
from finetune_trainer.data.document import Dropped
from finetune_trainer.data.formats import Reading, format_of
from finetune_trainer.data.loader import pack_sequence, pair_labels
from finetune_trainer.data.pairs import PairReader
from finetune_trainer.data.row import Line
from finetune_trainer.data.store import TokenStore
from finetune_trainer.data.tokenize import DocumentReader

ASKED = {"role": "user", "content": "Hi?"}
GOOD, BAD = {"role": "assistant", "content": "Ho."}, {"role": "assistant", "content": "Go away."}
GREETED = {"role": "assistant", "content": "Yes?"}
PAIRS = Reading(of_pairs=True)
CHOSEN, REJECTED = (
    "<bos><|User|>Hi?<|Assistant|>[Ho.<eos>]",
    "<bos><|User|>Hi?<|Assistant|>[Go away.<eos>]",
)


def line(row):
    return Line(place="pairs.jsonl:7", row=row)


def marked(tokenizer, tokens, trained):
    """As text, with brackets around what trains."""
    parts, before = [], False
    for token, trains in zip(tokens, trained, strict=True):
        parts += ["["] * (trains and not before) + ["]"] * (before and not trains)
        parts.append(tokenizer.decode([token]))
        before = trains
    return "".join(parts) + "]" * before


def read(make_tokenizer, row, longest=1000, reading=PAIRS):
    tokenizer = make_tokenizer()
    (pair,) = PairReader(tokenizer, reading, longest).documents(line(row))
    if isinstance(pair, Dropped):
        return pair
    sides = (slice(pair.rejected), slice(pair.rejected, None))
    return tuple(marked(tokenizer, pair.tokens[side], pair.trained[side]) for side in sides)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param({"prompt": "Hi?", "chosen": "Ho.", "rejected": "Go away."}, id="texts"),
        pytest.param({"prompt": [ASKED], "chosen": [GOOD], "rejected": [BAD]}, id="messages"),
        pytest.param({"prompt": [ASKED], "chosen": GOOD, "rejected": BAD}, id="a message each"),
        pytest.param({"prompt": [ASKED], "chosen": "Ho.", "rejected": "Go away."}, id="texts after messages"),
        pytest.param({"chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}, id="whole conversations"),
        pytest.param(
            {"prompt": "Hi?", "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
            id="whole conversations, and the prompt as text",
        ),
        pytest.param(
            {"prompt": [ASKED], "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
            id="whole conversations, and the prompt as messages",
        ),
        pytest.param(
            {"prompt": "Hi?", "chosen": "Ho.", "rejected": "Go away.", "tools": None, "system": None},
            id="null columns",
        ),
    ],
)
def test_every_form_is_the_same_pair(make_tokenizer, row):
    assert read(make_tokenizer, row) == (CHOSEN, REJECTED)


def test_an_earlier_answer_is_context(make_tokenizer):
    before = [ASKED, GREETED, ASKED]
    chosen, rejected = read(make_tokenizer, {"chosen": [*before, GOOD], "rejected": [*before, BAD]})
    start = "<bos><|User|>Hi?<|Assistant|>Yes?<eos><|User|>Hi?<|Assistant|>"
    assert (chosen, rejected) == (f"{start}[Ho.<eos>]", f"{start}[Go away.<eos>]")


def test_a_system_column_is_first(make_tokenizer):
    row = {"system": "S", "prompt": "Hi?", "chosen": "Ho.", "rejected": "Go away."}
    assert [side[:12] for side in read(make_tokenizer, row)] == ["<bos>S<|User"] * 2


PAIR = {"prompt": "Hi?", "chosen": "Ho.", "rejected": "Go away."}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        pytest.param(PAIR | {"rejected": None}, 'no "rejected" answer', id="none rejected"),
        pytest.param({"prompt": "Hi?", "chosen": "Ho."}, 'no "rejected" answer', id="no rejected"),
        pytest.param(PAIR | {"chosen": " "}, 'no "chosen" answer', id="empty chosen"),
        pytest.param(PAIR | {"rejected": []}, 'no "rejected" answer', id="no messages"),
        pytest.param(PAIR | {"rejected": "Ho."}, "are the same answer", id="the same"),
        pytest.param(
            {"chosen": [ASKED, GOOD], "rejected": [ASKED, GOOD]}, "same answer", id="the same conversation"
        ),
        pytest.param(
            {"chosen": [ASKED, GOOD], "rejected": [ASKED | {"content": "Ha?"}, BAD]},
            "differ in message 1, which is no answer",
            id="two prompts",
        ),
        pytest.param(
            {"prompt": "Ha?", "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
            '"prompt" is not what "chosen" and "rejected" begin with',
            id="another prompt",
        ),
        pytest.param({"chosen": "Ho.", "rejected": "Go away."}, 'no "prompt"', id="no prompt"),
        pytest.param({"chosen": [GOOD], "rejected": [BAD]}, 'no "prompt"', id="no prompt before messages"),
        pytest.param(PAIR | {"prompt": 3}, '"prompt" is a number', id="a number asked"),
        pytest.param(PAIR | {"chosen": 3}, '"chosen" is a number', id="a number answered"),
        pytest.param(PAIR | {"score": 3}, '"score", which nothing uses', id="a column"),
        pytest.param(
            {"chosen": [ASKED, GOOD, ASKED], "rejected": [ASKED, BAD, ASKED | {"mood": "bad"}]},
            r'pairs.jsonl:7 \(rejected\): message 3 \(user\) has "mood"',
            id="a key of a message",
        ),
    ],
)
def test_what_is_wrong_is_named(make_tokenizer, row, problem):
    with pytest.raises(DataError, match=problem) as raised:
        read(make_tokenizer, row)
    assert str(raised.value).startswith("pairs.jsonl:7")


def test_a_pair_that_is_too_long_is_dropped(make_tokenizer):
    whole = read(make_tokenizer, PAIR, longest=1000)
    assert whole == (CHOSEN, REJECTED)
    assert read(make_tokenizer, PAIR, longest=12) is Dropped.PAIR_TOO_LONG


@pytest.mark.parametrize(
    ("row", "of_pairs", "problem"),
    [
        pytest.param({"messages": [ASKED, GOOD]}, True, "format chat, and training.method: dpo", id="chats"),
        pytest.param({"text": "Ho."}, True, "format text, and training.method: dpo", id="texts"),
        pytest.param(PAIR, False, "preference pair .* training.method: sft", id="pairs to be imitated"),
    ],
)
def test_data_of_another_method_is_refused(row, of_pairs, problem):
    with pytest.raises(DataError, match=problem):
        format_of(line(row), Reading(of_pairs=of_pairs))


def test_pairs_are_packed_side_by_side(make_tokenizer, tmp_path):
    tokenizer, file = make_tokenizer(), tmp_path / "pairs.jsonl"
    rows = [PAIR, PAIR | {"chosen": "Ho, what is it?"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    documents = list(DocumentReader(files={file.name: file}, reading=PAIRS, tokenizer=tokenizer, longest=100))
    store = TokenStore.write(documents, tmp_path / "tokens", pairs=True)
    assert store.lengths().tolist() == [document.length for document in documents]
    tokens, positions, targets = pack_sequence(store, [1, 0], length=100, padding=9)
    labels = pair_labels(store, [1, 0], length=100)
    starts = (positions == 0).nonzero().flatten().tolist()
    assert {starts[0]: starts[1], starts[2]: starts[3]} == {
        place: int(labels[place]) for place in (labels >= 0).nonzero().flatten().tolist()
    }
    for start, end, side in zip(
        starts[:4], starts[1:], ("Ho, what is it?", "Go away.", "Ho.", "Go away."), strict=True
    ):
        learned = [token for token in targets[start:end].tolist() if token >= 0]
        assert tokenizer.decode(learned) == f"{side}<eos>"
        assert tokenizer.decode(tokens[start:end].tolist()).startswith("<bos><|User|>Hi?<|Assistant|>")
    assert torch.equal(TokenStore.load(tmp_path / "tokens").rejected, store.rejected)
