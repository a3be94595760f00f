"""Prompts of the gate: from the data where it can be read here, else random."""

import gzip
import json

import pytest
from deepseek_tokenizer import write_tokenizer

from finetune_converter.verify.prompts import random_prompts, training_prompts

TEMPLATE = "{% for m in messages %}{{ m.role + ': ' + m.content }}{% endfor %}"
CHAT = {"messages": [{"role": "user", "content": "A?"}, {"role": "assistant", "content": "B"}]}
CALL = {"messages": [{"role": "user", "content": "A?"}, {"role": "assistant", "content": None}]}


@pytest.mark.parametrize(
    ("content", "prompts"),
    [
        pytest.param(json.dumps(CHAT).encode(), 1, id="chat"),
        pytest.param(b'{"text": "A job."}\n' * 9, 8, id="text"),
        pytest.param(b'{"instruction": "A?", "output": "B"}\n\n', 1, id="alpaca"),
        pytest.param(
            f"{json.dumps(CHAT)}\n{json.dumps(CALL)}".encode(), 1, id="a-row-that-the-template-refuses"
        ),
        pytest.param(b'{"conversations": []}', None, id="another-format"),
        pytest.param(gzip.compress(b'{"text": "A job."}'), None, id="compressed"),
        pytest.param(b'[\n{"text": "A job."}\n]', None, id="array"),
        pytest.param(b"", None, id="empty"),
    ],
)
def test_prompts(tmp_path, content, prompts):
    write_tokenizer(tmp_path, json.dumps({"eos_token": "<eos>", "chat_template": TEMPLATE}))
    (tmp_path / "data.jsonl").write_bytes(content)
    found = training_prompts([tmp_path / "data.jsonl"], tmp_path, 64)
    if prompts is None:
        assert found == random_prompts(64)
    else:
        assert len(found) == prompts
        assert found != random_prompts(64)
