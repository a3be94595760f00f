"""A base as people publish it: with tokenizer, templates and generation settings."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def base(base: Path) -> Path:
    tokenizer = {
        "model": {"type": "BPE", "vocab": {"a": 3, "b": 4}, "merges": []},
        "added_tokens": [{"id": 1, "content": "</s>", "special": True}],
    }
    files = {
        "tokenizer.json": json.dumps(tokenizer),
        "chat_template.jinja": "{{ messages }}",
        "special_tokens_map.json": json.dumps({"eos_token": "</s>"}),
        "README.md": "# The base\n",
    }
    for name, text in files.items():
        (base / name).write_text(text)
    return base
