"""Prompts for the comparison of logits: the beginning of the training data, or seeded random tokens."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

PROMPTS = 8
MAX_TOKENS = 48
"""Bounds the activations of the widest layer: some 600 MB for DeepSeek-V3's."""


def training_prompts(dataset: Path, text_format: str, model: Path, vocabulary: int) -> list[list[int]]:
    """Token ids of the first documents; random ones where the data or the tokenizer cannot be read."""
    documents = _documents(dataset)
    if not documents or not (model / "tokenizer.json").is_file():
        return random_prompts(vocabulary)
    tokenizer = AutoTokenizer.from_pretrained(model)
    texts = (_text(document, text_format, tokenizer) for document in documents)
    prompts = (tokenizer.encode(text, add_special_tokens=False)[:MAX_TOKENS] for text in texts if text)
    return [prompt for prompt in prompts if prompt] or random_prompts(vocabulary)


def random_prompts(vocabulary: int) -> list[list[int]]:
    """Seeded, so that a second run measures the same."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, vocabulary, (PROMPTS, 32), generator=generator).tolist()


def _documents(dataset: Path) -> list[dict[str, Any]]:
    file = dataset if dataset.is_file() else next(iter(sorted(dataset.glob("**/*.jsonl"))), None)
    if file is None:
        return []
    documents = []
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                documents.append(json.loads(line))
            if len(documents) == PROMPTS:
                break
    return documents


def _text(document: dict[str, Any], text_format: str, tokenizer: Any) -> str:
    if text_format == "text":
        return str(document.get("text", ""))
    return str(tokenizer.apply_chat_template(document["messages"], tokenize=False))
