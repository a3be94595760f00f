"""Rows of every format: the messages that they become, and what is said of wrong ones."""

import json

import pytest

from finetune_trainer.contract.failure import DataError
from finetune_trainer.data.formats import Reading, read_conversation, recognise
from finetune_trainer.data.row import Line

HI = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Ho."}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {}}}
CALL = {"type": "function", "function": {"name": "weather", "arguments": '{"town": "Bern"}'}}


def read(row, **reading):
    line = Line(place="a.jsonl:7", row=row)
    return read_conversation(line, Reading(format=recognise(line, reading.get("ignored", ())), **reading))


def said(*pairs):
    """said("user", "Hi?") as messages."""
    return [{"role": role, "content": text} for role, text in zip(pairs[::2], pairs[1::2], strict=True)]


@pytest.mark.parametrize(
    ("row", "messages"),
    [
        pytest.param({"messages": HI}, HI, id="chat"),
        pytest.param({"messages": HI, "tools": None, "id": None}, HI, id="null-columns"),
        pytest.param(
            {"system": "S", "messages": HI},
            said("system", "S", "user", "Hi?", "assistant", "Ho."),
            id="system",
        ),
        pytest.param(
            {"conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Ho."}]},
            HI,
            id="sharegpt",
        ),
        pytest.param({"conversations": HI}, HI, id="messages-under-the-key-of-sharegpt"),
        pytest.param(
            {
                "conversations": [
                    {"from": "human", "value": "Hi?"},
                    {
                        "from": "function_call",
                        "value": json.dumps(CALL["function"] | {"arguments": {"town": "Bern"}}),
                    },
                    {"from": "observation", "value": "Sunny"},
                    {"from": "gpt", "value": "Ho."},
                ]
            },
            [
                HI[0],
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "content": "Sunny"},
                HI[1],
            ],
            id="sharegpt-with-a-call",
        ),
        pytest.param({"instruction": "Hi?", "output": "Ho."}, HI, id="alpaca"),
        pytest.param(
            {"instruction": "Add", "input": "1, 2", "output": "3", "history": [["Hi?", "Ho."]]},
            [*HI, *said("user", "Add\n1, 2", "assistant", "3")],
            id="alpaca-with-all",
        ),
        pytest.param({"prompt": "Hi?", "completion": "Ho."}, HI, id="prompt-completion"),
        pytest.param({"prompt": HI[:1], "completion": HI[1:]}, HI, id="prompt-completion-of-messages"),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "text", "text": t} for t in "ab"]}, HI[1]]},
            [*said("user", "a\nb"), HI[1]],
            id="parts",
        ),
        pytest.param(
            {"messages": [HI[0], {"role": "assistant", "tool_calls": [CALL["function"]]}]},
            [HI[0], {"role": "assistant", "content": None, "tool_calls": [CALL]}],
            id="call-as-its-function-alone",
        ),
        pytest.param(
            {"messages": [HI[0], {"role": "assistant", "tool_calls": json.dumps([CALL])}]},
            [HI[0], {"role": "assistant", "content": None, "tool_calls": [CALL]}],
            id="calls-as-json-text",
        ),
        pytest.param({"messages": [*HI, HI[0]]}, HI, id="unanswered-end"),
    ],
)
def test_messages(row, messages):
    assert [turn.message for turn in read(row).turns] == messages


@pytest.mark.parametrize(
    ("tools", "expected"),
    [
        pytest.param([TOOL], (TOOL,), id="openai"),
        pytest.param(json.dumps([TOOL]), (TOOL,), id="json-text"),
        pytest.param([TOOL["function"]], (TOOL,), id="function-alone"),
        pytest.param([], (), id="none"),
        pytest.param("", (), id="empty-text"),
    ],
)
def test_tools(tools, expected):
    assert read({"messages": HI, "tools": tools}).tools == expected


FOUR = said("assistant", "0", "user", "A?", "assistant", "1", "user", "B?", "assistant", "2")


@pytest.mark.parametrize(
    ("flags", "train", "trained"),
    [
        pytest.param({}, "all", {2, 4}, id="all-but-before-the-first-user"),
        pytest.param({}, "last", {4}, id="last"),
        pytest.param({}, "weighted", set(), id="none-is-weighted"),
        pytest.param({2: {"weight": 1}}, "weighted", {2}, id="weighted"),
        pytest.param({2: {"weight": 0}}, "all", {4}, id="weight-0"),
        pytest.param({4: {"train": False}}, "all", {2}, id="train-false"),
        pytest.param({4: {"training": 0.0}}, "last", set(), id="the-last-is-not-to-train"),
        pytest.param({4: {"loss": True, "weight": 1}, 1: {"weight": 0}}, "weighted", {4}, id="two-keys"),
        pytest.param({0: {"weight": 1}}, "all", {2, 4}, id="weight-before-the-first-user"),
    ],
)
def test_which_turns_train(flags, train, trained):
    messages = [message | flags.get(number, {}) for number, message in enumerate(FOUR)]
    assert read({"messages": messages}, train=train).trained == trained


def with_answer(**answer):
    return {"messages": [HI[0], {"role": "assistant"} | answer]}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        pytest.param({"foo": 1}, "the keys foo are of no format that is known", id="unknown"),
        pytest.param({"messages": HI, "id": 3}, 'the row has "id", which nothing uses', id="unused-column"),
        pytest.param(
            with_answer(content="a", mood="b"),
            'message 2 (assistant) has "mood", which nothing uses',
            id="unused-key",
        ),
        pytest.param(with_answer(content="a", weight=0.5), "it can be 0 or 1", id="weight-between"),
        pytest.param(with_answer(content="a", weight=1, train=False), "says both that it trains", id="both"),
        pytest.param(
            {"messages": [HI[0] | {"weight": 1}, HI[1]]}, "only the assistant's turns can", id="user-weight"
        ),
        pytest.param(with_answer(content={"a": 1}), "is an object, not text", id="object"),
        pytest.param(with_answer(content=True), "is true, not text; write it in quotes", id="true"),
        pytest.param(
            with_answer(content=[{"type": "image_url", "image_url": {}}]),
            "part 1 of message 2 (assistant) is of type image_url; only text can be trained on",
            id="image",
        ),
        pytest.param(with_answer(content=["a"]), "part 1 of message 2 (assistant) is text;", id="part"),
        pytest.param(
            with_answer(function_call={}), "has function_call, OpenAI's old form", id="function-call"
        ),
        pytest.param(with_answer(tool_calls=[{"id": "c"}]), "has no function's name", id="call-without-name"),
        pytest.param(
            with_answer(tool_calls=[{"name": "f", "arguments": "{"}]), "are no JSON object", id="arguments"
        ),
        pytest.param(
            with_answer(tool_calls="[{"),
            '"tool_calls" of message 2 (assistant) is text that is not JSON',
            id="calls",
        ),
        pytest.param(
            with_answer(reasoning="a", thinking="b", content="c"), "has two thoughts", id="two-thoughts"
        ),
        pytest.param(
            {"messages": HI, "tools": "x"}, '"tools" of the row is text that is not JSON', id="tools"
        ),
        pytest.param(
            {"messages": HI, "tools": {"a": 1}}, '"tools" is an object, not a list', id="tools-object"
        ),
        pytest.param(
            {"messages": said("assistant", "B")}, "no turn of the assistant has a user's", id="no-user"
        ),
        pytest.param(
            {"system": "S", "messages": [*said("system", "T"), *HI]},
            'both "system" and a system message',
            id="systems",
        ),
        pytest.param(
            {"conversations": [{"from": "alien", "value": "a"}]},
            "message 1 is from 'alien'",
            id="sharegpt-role",
        ),
        pytest.param({"instruction": "", "output": "a"}, 'no "instruction"', id="alpaca-empty"),
        pytest.param(
            {"prompt": "a", "completion": 3}, '"completion" is a number (3), not text', id="completion"
        ),
    ],
)
def test_what_is_said(row, problem):
    with pytest.raises(DataError) as caught:
        read(row)
    assert caught.value.message.startswith("a.jsonl:7: ")
    assert problem in caught.value.message


def test_what_is_declared_unused_is_not_there():
    row = {"messages": [HI[0] | {"mood": "b"}, HI[1]], "tools": [TOOL], "id": 3}
    conversation = read(row, ignored=("mood", "tools", "id"))
    assert [turn.message for turn in conversation.turns] == HI
    assert conversation.tools == ()
