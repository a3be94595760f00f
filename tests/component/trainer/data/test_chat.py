"""What a conversation becomes: tokens as a server would make them, the assistant's part trained."""

import itertools
from dataclasses import replace

import pytest

from finetune_trainer.contract.failure import DataError
from finetune_trainer.data.chat import ChatReader
from finetune_trainer.data.document import Document, Dropped
from finetune_trainer.data.formats import Reading


def chat_document(line, tokenizer, longest):
    (document,) = ChatReader(tokenizer, Reading(format="chat"), longest).documents(line)
    return document


def trained_texts(tokenizer, document):
    groups = itertools.groupby(zip(document.tokens, document.trained, strict=True), key=lambda pair: pair[1])
    return [tokenizer.decode([token for token, _ in pairs]) for trained, pairs in groups if trained]


@pytest.mark.parametrize(
    ("template", "parts", "expected"),
    [
        pytest.param("deepseek", ("user", "Why?", "assistant", "So."), ["So.<eos>"], id="one-turn"),
        pytest.param(
            "deepseek",
            ("system", "Be brief", "user", "A?", "assistant", "B", "user", "C?", "assistant", "D"),
            ["B<eos>", "D<eos>"],
            id="system-and-two-turns",
        ),
        pytest.param(
            "deepseek", ("user", "A?", "assistant", "B", "user", "C?"), ["B<eos>"], id="unanswered-end"
        ),
        pytest.param("deepseek", ("user", "Ä?", "assistant", "日本 - é"), ["日本 - é<eos>"], id="multi-byte"),
        pytest.param("thinking", ("user", "A?", "assistant", "B"), ["B<eos>"], id="prompt-opens-a-thought"),
        pytest.param(
            "thinking",
            ("user", "A?", "assistant", "<think>\nhm</think>B"),
            ["hm</think>B<eos>"],
            id="answer-continues-the-thought",
        ),
        pytest.param(
            "chatml",
            ("user", "A?", "assistant", "B", "user", "C?", "assistant", "D"),
            ["B<|im_end|>", "D<|im_end|><eos>"],
            id="chatml",
        ),
        pytest.param("plain", ("user", "A?", "assistant", "B c"), ["B c<eos>"], id="template-without-end"),
    ],
)
def test_the_assistant_is_trained(make_tokenizer, chat_line, template, parts, expected):
    tokenizer = make_tokenizer(template)
    document = chat_document(chat_line(*parts), tokenizer, 1000)
    assert trained_texts(tokenizer, document) == expected


def test_tokens_are_those_of_transformers(make_tokenizer, chat_line):
    from transformers import PreTrainedTokenizerFast

    tokenizer = make_tokenizer("deepseek")
    line = chat_line("system", "Be brief", "user", "A job?", "assistant", "It is a manifest.")
    reference = PreTrainedTokenizerFast.from_pretrained(str(tokenizer.folder))
    expected = reference.apply_chat_template(line.row["messages"], tokenize=True, return_dict=False)
    assert chat_document(line, tokenizer, 1000).tokens == expected


def test_the_end_token_can_be_the_templates(make_tokenizer, chat_line):
    tokenizer = make_tokenizer("chatml", eos="<|im_end|>")
    document = chat_document(chat_line("user", "A?", "assistant", "B"), tokenizer, 1000)
    assert trained_texts(tokenizer, document) == ["B<|im_end|>"]


def test_a_long_conversation_ends_after_the_last_whole_answer(make_tokenizer, chat_line):
    tokenizer = make_tokenizer()
    short = ("user", "A?", "assistant", "B")
    whole = chat_document(chat_line(*short), tokenizer, 1000)
    longer = chat_line(*short, "user", "C?", "assistant", "D" * 100)
    cut, uncut = (chat_document(longer, tokenizer, longest) for longest in (whole.length, 1000))
    assert isinstance(uncut, Document)
    assert cut == replace(whole, tokens_cut=len(uncut.tokens) - len(whole.tokens))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param(("user", "zq" * 40, "assistant", "B"), Dropped.PROMPT_TOO_LONG, id="prompt"),
        pytest.param(("user", "A?", "assistant", "zq" * 40), Dropped.ANSWER_TOO_LONG, id="answer"),
    ],
)
def test_what_does_not_fit_is_dropped(make_tokenizer, chat_line, parts, expected):
    assert chat_document(chat_line(*parts), make_tokenizer(), 20) is expected


@pytest.mark.parametrize(
    ("template", "parts", "problem"),
    [
        pytest.param("deepseek", ("user", "A?"), "no assistant turn", id="no-assistant"),
        pytest.param(
            "deepseek",
            ("human", "A?", "assistant", "B"),
            "message 1 has role 'human'; roles are system, developer, user, assistant, tool",
            id="wrong-role",
        ),
        pytest.param(
            "deepseek",
            ("user", "A?", "assistant", " "),
            "message 2 (assistant) has no content",
            id="no-content",
        ),
        pytest.param(
            "deepseek",
            ("assistant", "B"),
            "no turn of the assistant has a user's turn before it",
            id="assistant-first",
        ),
        pytest.param(
            "strict",
            ("system", "S", "user", "A?", "assistant", "B"),
            "the base model's chat template refuses the messages: System role not supported",
            id="template-refuses",
        ),
        pytest.param(
            "forgetful",
            ("user", "A?", "assistant", "B", "user", "C?", "assistant", "D"),
            "the chat template does not render the content of message 1 (user)",
            id="template-forgets-history",
        ),
        pytest.param(
            "shouting",
            ("user", "A?", "assistant", "b"),
            "the chat template changes the text of message 2 (assistant)",
            id="template-rewrites-an-answer",
        ),
        pytest.param(
            "ending",
            ("user", "A?", "assistant", "B", "user", "C?", "assistant", "D"),
            "the chat template changes message 2 when later turns follow it",
            id="template-takes-an-end-away",
        ),
        pytest.param(
            "thinking",
            ("system", "S", "user", "A?", "assistant", "B"),
            "the chat template does not render the content of message 1 (system)",
            id="template-knows-no-system",
        ),
        pytest.param(
            "deepseek",
            ("developer", "S", "user", "A?", "assistant", "B"),
            "message 1: the chat template takes role developer for the assistant's",
            id="role-taken-for-the-assistants",
        ),
        pytest.param(
            "endless",
            ("user", "A?", "assistant", "B", "user", "C?", "assistant", "D", "user", "E?", "assistant", "F"),
            "the chat template writes no end token after the answer of message 4 (assistant)",
            id="template-forgets-an-end",
        ),
        pytest.param(
            "moody",
            ("user", "A?", "assistant", "<think>\nB</think>"),
            "what the chat template writes depends on the messages' texts",
            id="template-reads-the-texts",
        ),
    ],
)
def test_a_wrong_line_is_named(make_tokenizer, chat_line, template, parts, problem):
    with pytest.raises(DataError) as caught:
        chat_document(chat_line(*parts), make_tokenizer(template), 1000)
    assert caught.value.message == f"faq.jsonl:17: {problem}"


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        pytest.param(None, 'no "messages" list', id="missing"),
        pytest.param([], 'no "messages" list', id="empty"),
        pytest.param(["Hi"], "message 1 is text, not an object", id="strings"),
    ],
)
def test_wrong_messages_are_named(make_tokenizer, chat_line, messages, problem):
    line = chat_line()
    line.row["messages"] = messages
    with pytest.raises(DataError, match=f"faq.jsonl:17: {problem}"):
        chat_document(line, make_tokenizer(), 1000)
