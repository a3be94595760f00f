"""At least 200 prompts in the model's chat form: the dataset's questions and those the base has learned."""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import AutoTokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "examples/tiny_base"))
from corpus import read_corpus

PROMPTS = 240


class Continued(NamedTuple):
    """A prompt and a model's answer to it."""

    prompt: list[int]
    answer: list[int]

    @property
    def tokens(self) -> list[int]:
        return self.prompt + self.answer

    def answering(self, logits: torch.Tensor) -> torch.Tensor:
        """Of logits [tokens, vocabulary], the rows that foretell the answer."""
        return logits[len(self.prompt) - 1 : -1]


def read_prompts(model: Path, dataset: Path) -> list[list[int]]:
    lines = dataset.read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line)["messages"][0]["content"] for line in lines]
    questions += [question for question, _ in read_corpus(seed=0).chats]
    tokenizer = AutoTokenizer.from_pretrained(model)
    chats = [[{"role": "user", "content": question}] for question in questions[:PROMPTS]]
    return [tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"] for chat in chats]
