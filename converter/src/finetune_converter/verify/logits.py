"""Logits of base + adapter against the merged model, layer by layer, with a band of a matrix in memory."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from finetune_converter.verify.architecture import architecture_of
from finetune_converter.verify.gate import failed
from finetune_converter.verify.measured import kind_of
from finetune_converter.verify.peft_reference import layer_of
from finetune_converter.verify.rounding import HALF_UNIT
from finetune_converter.verify.streamed import TensorPairs, streamed_layer, twin
from finetune_converter.verify.tensors import Models

_GREATEST = 0.5
"""Unrelated logits are sqrt(2) of their size apart: beyond half of that nothing is proven."""


@dataclass(frozen=True, kw_only=True)
class LogitsReport:
    """How the merged model answers, against base + adapter."""

    prompts: int
    tokens: int
    greatest_difference: float
    median_relative_difference: float
    equal_greedy_share: float
    """Share of tokens after which both give the same next token."""


def compare_logits(
    models: Models, config: Any, prompts: list[list[int]], advance: Callable[[], None]
) -> LogitsReport:
    """Run the prompts through both. Raises Failure when they differ by more than rounding explains."""
    report, limit = _compare(config, models, prompts, advance), tolerance(models)
    if not report.median_relative_difference <= limit:
        raise failed(
            f"the merged model's logits differ from those of the adapter on the base by "
            f"{report.median_relative_difference:.3g} of their size (the limit is {limit:.3g})"
        )
    return report


def tolerance(models: Models) -> float:
    """Of the median over tokens of |merged - reference| / |reference|.

    A value rounded to nearest errs by up to h relative to itself, evenly spread: by h / sqrt(3) in the mean
    square. So does a product of the matrix with any vector, as the errors of its elements are independent.
    One matrix after another adds in quadrature (the residual stream and norms keep the scale), so m rounded
    matrices on a token's way make h * sqrt(m / 3). Twice that is allowed: both go through the same experts,
    but weigh them by scores that differ.
    """
    rounded = {
        (layer_of(name), kind_of(name), tensor.dtype)
        for name, tensor in models.expected.items()
        if not tensor.same and not tensor.is_scale
    }
    square = sum(HALF_UNIT.get(dtype, 0.0) ** 2 / 3 for _, _, dtype in rounded)
    # fp32 itself, of sums over thousands of products in another order.
    return min(_GREATEST, 2 * math.sqrt(square) + 1e-4)


@torch.no_grad()
def _compare(
    config: Any, models: Models, prompts: list[list[int]], advance: Callable[[], None]
) -> LogitsReport:
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    # Padded on the right, where no token of a causal model looks.
    tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(prompt) for prompt in prompts], batch_first=True)
    positions = torch.arange(tokens.shape[1])
    outside = TensorPairs(models, None)
    embedded = outside.rows("model.embed_tokens.weight", tokens.flatten())
    states = torch.cat([half.reshape(*tokens.shape, -1) for half in embedded])
    inputs = {
        "attention_mask": torch.full((len(positions), len(positions)), float("-inf")).triu(1)[None, None],
        "position_ids": positions[None],
        "position_embeddings": architecture_of(config).rotary(config)(states, positions[None]),
    }
    for index in range(config.num_hidden_layers):
        states = streamed_layer(config, index, models)(states, **inputs)
        advance()
    norm = twin(
        architecture_of(config).norm(config.hidden_size, eps=config.rms_norm_eps), "model.norm", outside
    )
    valid = positions < lengths[:, None]
    expected, merged = (half[valid] for half in norm(states).chunk(2))
    head = "model.embed_tokens.weight" if config.tie_word_embeddings else "lm_head.weight"
    return _compare_heads(len(prompts), expected, merged, outside, head)


def _compare_heads(
    prompts: int, expected: torch.Tensor, merged: torch.Tensor, pairs: TensorPairs, head: str
) -> LogitsReport:
    """From the last states [tokens, hidden]: the logits of 129,280 words are compared a band at a time."""
    count, greatest = len(expected), torch.zeros(())
    difference, size = torch.zeros(count), torch.zeros(count)
    best = [(torch.full((count,), float("-inf")), torch.zeros(count, dtype=torch.long)) for _ in range(2)]
    for band in pairs.bands(head):
        logits = [expected @ band.expected.T, merged @ band.merged.T]
        apart = logits[1] - logits[0]
        difference += apart.square().sum(1)
        size += logits[0].square().sum(1)
        greatest = torch.maximum(greatest, apart.abs().max())
        best = [_better(kept, values, band.start) for kept, values in zip(best, logits, strict=True)]
    relative = difference.sqrt() / size.sqrt().clamp(min=1e-12)
    return LogitsReport(
        prompts=prompts,
        tokens=count,
        greatest_difference=float(greatest),
        median_relative_difference=float(relative.median()),
        equal_greedy_share=float((best[0][1] == best[1][1]).float().mean()),
    )


def _better(
    kept: tuple[torch.Tensor, torch.Tensor], logits: torch.Tensor, first: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The greatest logit of every token so far, and its word."""
    values, words = logits.max(1)
    higher = values > kept[0]
    return torch.where(higher, values, kept[0]), torch.where(higher, words + first, kept[1])
