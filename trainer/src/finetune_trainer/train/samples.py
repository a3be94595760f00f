"""What the adapter on its base answers to a few prompts, as training goes on: greedy, and in bounded time."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torchtitan.config import Configurable

from finetune_trainer.contract.failure import ConfigurationError
from finetune_trainer.data.tokenizer import ChatTokenizer, load_tokenizer
from finetune_trainer.distributed.agreement import any_rank, gather_objects
from finetune_trainer.train.expert_load import uncounted

End = Literal["stop", "length", "time"]
# Sequences of a few lengths only: a kernel that is compiled is compiled for each.
_MULTIPLE = 128


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The answer to one prompt, and what ended it: the model, maxTokens or maxSeconds."""

    prompt: str
    text: str
    end: End


@dataclass(frozen=True, kw_only=True)
class SamplesRecord:
    """The answers to all prompts at a step; 0 is before training."""

    step: int
    samples: tuple[Sample, ...]


class Sampler(Configurable):
    """Generates by the model as it is trained: every rank its share of the prompts, all in step.

    Each token costs a forward pass of the whole sequence: a model that trains has no cache of keys and
    values, and a few short answers do not need one.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(Configurable.Config):
        prompts: tuple[str, ...] = ()
        """Without one nothing is generated."""
        chat: bool = True
        """Whether a prompt is a user's message, or a text that is gone on with."""
        max_tokens: int = 64
        max_seconds: float = 60
        """Of all prompts together, at one step."""
        freq: int = 100
        """Steps between two rounds."""

    def __init__(
        self,
        config: Config,
        *,
        base: Path,
        length: int,
        rank: int,
        ranks: int,
        device: torch.device,
        context: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """length: the longest sequence that the model takes. rank, ranks: of those with other batches.

        Raises ConfigurationError for a prompt that does not fit.
        """
        self.config = config
        self._device, self._context = device, context
        self._tokenizer = load_tokenizer(base)
        prompts = encoded_prompts(config, self._tokenizer, length)
        self._ends = _end_tokens(base) | {self._tokenizer.eos_id}
        needed = max(map(len, prompts)) + config.max_tokens
        self._length = min(length, -(-needed // _MULTIPLE) * _MULTIPLE)
        self._numbers = range(rank, len(prompts), ranks)
        self._own = [prompts[number] for number in self._numbers]

    def is_due(self, step: int) -> bool:
        return step % self.config.freq == 0

    def generate(self, model: Any) -> tuple[Sample, ...]:
        """The answers to all prompts, on every rank. Every rank calls this, with its part of the model."""
        with _evaluated(model), torch.no_grad():
            rows = self._generate(model, time.monotonic() + self.config.max_seconds)
        own = {number: self._sample(number, row) for number, row in zip(self._numbers, rows, strict=True)}
        answered = {number: sample for samples in gather_objects(own) for number, sample in samples.items()}
        return tuple(answered[number] for number in sorted(answered))

    def _generate(self, model: Any, deadline: float) -> list["_Row"]:
        # A rank without a prompt computes along: experts and shards of the others' layers are on it.
        rows = [_Row(prompt) for prompt in self._own]
        for _ in range(self.config.max_tokens):
            late = any_rank(time.monotonic() > deadline)
            for row in rows:
                row.late = late and not row.done
            if late or not any_rank(any(not row.done for row in rows)):
                break
            for row, token in zip(rows, self._next_tokens(model, rows), strict=True):
                row.add(token, self._ends)
        return rows

    def _next_tokens(self, model: Any, rows: Sequence["_Row"]) -> list[int]:
        tokens = torch.full((max(1, len(rows)), self._length), self._tokenizer.eos_id, dtype=torch.int64)
        for number, row in enumerate(rows):
            tokens[number, : len(row.tokens)] = torch.tensor(row.tokens)
        positions = torch.arange(self._length).expand(tokens.shape).contiguous()
        tokens, positions = tokens.to(self._device), positions.to(self._device)
        with self._context():
            masks = model.get_attention_masks(positions)
            states = model(tokens, positions=positions, attention_masks=masks)
            last = [max(len(row.tokens), 1) - 1 for row in rows] or [0]
            chosen = states[torch.arange(len(tokens)), torch.tensor(last)]
            # The model gives states: the head is with the loss, of which ours compute few tokens at a time.
            logits: torch.Tensor = model.lm_head(chosen[:, None])[:, 0]
        return logits.float().argmax(dim=-1).tolist()[: len(rows)]

    def _sample(self, number: int, row: "_Row") -> Sample:
        end: End = "stop" if row.done else "time" if row.late else "length"
        return Sample(
            prompt=self.config.prompts[number], text=self._tokenizer.decode(row.generated).strip(), end=end
        )


@dataclass
class _Row:
    """A prompt, and what is generated of its answer: without the token that ended it."""

    tokens: list[int]
    generated: list[int] = field(default_factory=list)
    done: bool = False
    late: bool = False

    def __post_init__(self) -> None:
        self.tokens = list(self.tokens)

    def add(self, token: int, ends: set[int]) -> None:
        if self.done:
            return
        self.done = token in ends
        if not self.done:
            self.tokens.append(token)
            self.generated.append(token)


def encoded_prompts(config: Sampler.Config, tokenizer: ChatTokenizer, length: int) -> list[list[int]]:
    """The prompts' tokens. Raises ConfigurationError for a prompt that leaves no room for its answer."""
    prompts = [_encoded(tokenizer, prompt, chat=config.chat) for prompt in config.prompts]
    for number, prompt in enumerate(prompts):
        if not prompt or len(prompt) + config.max_tokens > length:
            raise ConfigurationError(
                f"training.samples.prompts[{number}]: {len(prompt):,} tokens and the answer's "
                f"{config.max_tokens:,} do not fit into training.sequenceLength, {length:,}",
                remedy="Shorten the prompt, or lower samples.maxTokens",
            )
    return prompts


def _encoded(tokenizer: ChatTokenizer, prompt: str, *, chat: bool) -> list[int]:
    """The tokens that a server would answer to."""
    if chat and tokenizer.has_chat_template:
        template = tokenizer.template(tools=False)
        text = template.plain([{"role": "user", "content": prompt}], prompt=True)
        return tokenizer.encode_rendered(text)[0]
    tokens = tokenizer.encode_text(prompt)
    return tokens[:-1] if tokens[-1:] == [tokenizer.eos_id] else tokens


def _end_tokens(base: Path) -> set[int]:
    """Those that generation_config.json names; none if there is no such file."""
    try:
        told = json.loads((base / "generation_config.json").read_text(encoding="utf-8")).get("eos_token_id")
    except (OSError, ValueError, AttributeError):
        return set()
    return {token for token in (told if isinstance(told, list) else [told]) if isinstance(token, int)}


@contextmanager
def _evaluated(model: nn.Module) -> Iterator[None]:
    """Without dropout, with the experts' counts of tokens as they were, and nothing compiled.

    For a second shape Dynamo takes lengths for unknown, and then Inductor lowers no flex attention (torch
    2.14, _use_flex_decoding): on a GPU the first step after samples failed.
    """
    model.eval()
    try:
        with uncounted([model]), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        model.train()
