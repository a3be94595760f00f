"""Chat templates as transformers renders them: the same tokens, and the same of them trained."""

# ruff: noqa: RUF001 - the tokens are written with a full-width bar

import json
from pathlib import Path

import pytest
from deepseek_tokenizer import EOS, deepseek_tokenizer, write_tokenizer
from transformers import PreTrainedTokenizerFast

from finetune_trainer.contract.failure import DataError
from finetune_trainer.data.chat import ChatReader
from finetune_trainer.data.formats import Reading
from finetune_trainer.data.row import Line
from finetune_trainer.data.tokenizer import Vocabulary, load_tokenizer

CASES = Path(__file__).parent / "cases"
TOOL = {"type": "function", "function": {"name": "weather", "description": "é <b>", "parameters": {}}}
CALL = {
    "type": "function",
    "id": "c1",
    "function": {"name": "weather", "arguments": {"town": "Bern", "n": 2}},
}
# Qwen3's rules in short: thoughts of turns before the last user's are left out, calls are JSON.
QWEN = (
    "{%- if tools %}{{ '# Tools\n' }}{%- for t in tools %}{{ t | tojson }}\n{%- endfor %}{%- endif %}"
    "{%- set ns = namespace(last=0) %}"
    "{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}"
    "{%- endfor %}"
    "{%- for m in messages %}"
    "{{- '<｜Assistant｜>' if m.role == 'assistant' else '<｜User｜>' + m.role + '\n' }}"
    "{%- if m.role == 'assistant' %}{% generation %}"
    "{%- if m.reasoning_content and loop.index0 > ns.last %}"
    "{{- '<think>\n' + m.reasoning_content.strip('\n') + '\n</think>\n\n' }}{%- endif %}"
    "{{- m.content or '' }}"
    "{%- for c in m.tool_calls or [] %}"
    '{{- \'<tool_call>{"name": "\' + c.function.name + \'", "arguments": \' }}'
    "{{- c.function.arguments | tojson }}{{- '}</tool_call>' }}{%- endfor %}"
    "{{- eos_token }}{% endgeneration %}"
    "{%- else %}{{- m.content }}{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<｜Assistant｜>' }}{%- endif %}"
)
PLAIN_QWEN = QWEN.replace("{% generation %}", "").replace("{% endgeneration %}", "")


@pytest.fixture
def base(tmp_path):
    def make(template, **changes):
        config = json.loads((CASES / "41-generation-tag.tokenizer_config.json").read_text())
        write_tokenizer(tmp_path, json.dumps(config | {"chat_template": template} | changes))
        return load_tokenizer(tmp_path)

    return make


def documents(tokenizer, row, **reading):
    return ChatReader(tokenizer, Reading(format="chat", **reading), 4096).documents(
        Line(place="a:1", row=row)
    )


TOOL_CHAT = {
    "tools": [TOOL],
    "messages": [
        {"role": "system", "content": "Be brief.\n"},
        {"role": "user", "content": " Weather? "},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "日本 - é"},
        {"role": "assistant", "content": "It is sunny.", "reasoning_content": "The tool says so."},
    ],
}
TWO_TURNS = {
    "messages": [
        {"role": "user", "content": "user"},
        {"role": "assistant", "content": "Assistant"},
        {"role": "user", "content": "Assistant"},
        {"role": "assistant", "content": "user"},
    ]
}


@pytest.mark.parametrize(
    "template", [pytest.param(QWEN, id="generation"), pytest.param(PLAIN_QWEN, id="plain")]
)
@pytest.mark.parametrize(
    "row", [pytest.param(TOOL_CHAT, id="tools-and-thoughts"), pytest.param(TWO_TURNS, id="texts-like-roles")]
)
def test_tokens_and_mask_are_those_of_transformers(base, tmp_path, template, row):
    (document,) = documents(base(template), row)
    reference = PreTrainedTokenizerFast.from_pretrained(str(tmp_path))
    expected = reference.apply_chat_template(
        row["messages"],
        tools=row.get("tools"),
        chat_template=QWEN,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    assert document.tokens == expected["input_ids"]
    assert document.trained == [bool(flag) for flag in expected["assistant_masks"]]


def test_a_thought_that_later_turns_strip_is_named_or_trained_in_a_document_of_its_own(base):
    answer = {"role": "assistant", "content": "4", "reasoning_content": "two and two"}
    row = {
        "messages": [{"role": "user", "content": "2+2?"}, answer, {"role": "user", "content": "So?"}, answer]
    }
    tokenizer = base(PLAIN_QWEN)
    with pytest.raises(
        DataError, match=r"a:1: the chat template strips the thought of message 2 \(assistant\)"
    ):
        documents(tokenizer, row)
    thought = f"<think>\ntwo and two\n</think>\n\n4{EOS}"
    assert [
        tokenizer.decode(document.tokens) for document in documents(tokenizer, row, keep_thoughts=True)
    ] == [
        f"<｜User｜>user\n2+2?<｜Assistant｜>4{EOS}<｜User｜>user\nSo?<｜Assistant｜>{thought}",
        f"<｜User｜>user\n2+2?<｜Assistant｜>{thought}",
    ]


@pytest.mark.parametrize(
    ("role", "text", "ids"),
    [
        pytest.param("user", f"a{EOS}b<｜User｜>", 0, id="user"),
        pytest.param("tool", "<think>{'a': '<｜Assistant｜>'}", 0, id="tool"),
        pytest.param("system", f"{EOS}Use <｜tool▁calls▁begin｜>", 1, id="system-may-name-the-tool-tags"),
    ],
)
def test_tags_that_people_write_are_text(base, role, text, ids):
    tokenizer = base(PLAIN_QWEN)
    row = {
        "messages": [
            {"role": "user", "content": "A?"},
            {"role": role, "content": text},
            *TWO_TURNS["messages"][:2],
        ]
    }
    plain = {"messages": [row["messages"][0], {"role": role, "content": "x"}, *row["messages"][2:]]}
    (document,), (expected,) = documents(tokenizer, row), documents(tokenizer, plain)
    assert text in tokenizer.decode(document.tokens)
    added = deepseek_tokenizer().get_added_tokens_decoder()
    tags = [token for token in document.tokens if token in added]
    assert len(tags) == len([token for token in expected.tokens if token in added]) + ids
    assert sum(document.trained) == sum(expected.trained)


def test_neither_truncation_nor_padding_of_the_file_applies(base, tmp_path):
    expected = documents(base(PLAIN_QWEN), TOOL_CHAT)
    tokenizer = deepseek_tokenizer()
    tokenizer.enable_truncation(12)
    tokenizer.enable_padding(length=512)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert documents(load_tokenizer(tmp_path), TOOL_CHAT) == expected
    assert Vocabulary(tokenizer_path=str(tmp_path)).tokenizer.truncation is None


@pytest.mark.parametrize(
    ("size", "message"),
    [
        pytest.param(1, f"eos_token {EOS} has id", id="end"),
        pytest.param(-3, "a:1: token '<｜tool▁calls▁begin｜>' has id", id="token"),
    ],
)
def test_a_token_beyond_the_models_vocabulary_is_refused(base, tmp_path, size, message):
    vocabulary = deepseek_tokenizer()
    end = vocabulary.token_to_id(EOS)
    calls = vocabulary.token_to_id("<｜tool▁calls▁begin｜>")
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": end if size > 0 else calls}))
    row = {"messages": [TWO_TURNS["messages"][0], {"role": "assistant", "content": "<｜tool▁calls▁begin｜>"}]}
    with pytest.raises(DataError, match=message):
        documents(base(PLAIN_QWEN), row)


NAMED = [{"name": "default", "template": PLAIN_QWEN}, {"name": "tool_use", "template": "{{ tools[0] }}"}]


@pytest.mark.parametrize(
    ("template", "files", "message"),
    [
        pytest.param(NAMED, {}, "does not render the content", id="tool_use-beside-tools"),
        pytest.param(NAMED[1:], {}, "none is named default", id="no-default"),
        pytest.param([{"name": "x"}], {}, "neither a text nor a list of named ones", id="no-template"),
        pytest.param("{% if %}", {}, "the chat template default cannot be read", id="damaged"),
        pytest.param(
            PLAIN_QWEN,
            {"additional_chat_templates/tool_use.jinja": "{{ tools[0] }}"},
            "does not render the content",
            id="additional",
        ),
    ],
)
def test_which_template_is_taken(base, tmp_path, template, files, message):
    for name, source in files.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(source)
    row = TWO_TURNS | ({"tools": [TOOL]} if "render" in message else {})
    with pytest.raises(DataError, match=message):
        documents(base(template), row)
