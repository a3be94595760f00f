"""Prompts for the comparison of logits: the beginning of the training data, or seeded random tokens."""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from jinja2.exceptions import TemplateError
from transformers import AutoTokenizer

PROMPTS = 8
MAX_TOKENS = 48
"""Bounds the activations of the widest layer: some 600 MB for DeepSeek-V3's."""


def training_prompts(datasets: Sequence[Path], model: Path, vocabulary: int) -> list[list[int]]:
    """Token ids of the first documents; random ones where the data or the tokenizer cannot be read here.

    Any tokens do for the comparison: rows of another format than messages or text are the trainer's to read.
    """
    documents = next((found for dataset in datasets if (found := _documents(dataset))), [])
    if not documents or not (model / "tokenizer.json").is_file():
        return random_prompts(vocabulary)
    tokenizer = AutoTokenizer.from_pretrained(model)
    texts = (_text(document, tokenizer) for document in documents)
    prompts = (tokenizer.encode(text, add_special_tokens=False)[:MAX_TOKENS] for text in texts if text)
    return [prompt for prompt in prompts if prompt] or random_prompts(vocabulary)


def random_prompts(vocabulary: int) -> list[list[int]]:
    """Seeded, so that a second run measures the same."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, vocabulary, (PROMPTS, 32), generator=generator).tolist()


def _documents(dataset: Path) -> list[dict[str, Any]]:
    file = dataset if dataset.is_file() else next(iter(sorted(dataset.glob("**/*.jsonl"))), None)
    documents: list[dict[str, Any]] = []
    if file is None:
        return documents
    try:
        with file.open(encoding="utf-8-sig") as lines:
            documents += (json.loads(line) for line in islice(filter(str.strip, lines), PROMPTS))
    except ValueError:  # compressed, parquet, or JSON of another layout
        return []
    return [document for document in documents if isinstance(document, dict)]


def _text(document: dict[str, Any], tokenizer: Any) -> str:
    messages = document.get("messages")
    if not isinstance(messages, list):
        text = document.get("text", document.get("output", document.get("completion", "")))
        return text if isinstance(text, str) else ""
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False))
    except (TemplateError, TypeError, ValueError, LookupError):
        return ""
