"""Logits of base + adapter against the merged model, layer by layer, with a band of a matrix in memory."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import DeepseekV3Config
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3RMSNorm, DeepseekV3RotaryEmbedding

from finetune_converter.merge.plan import Weight
from finetune_converter.model_files.dtypes import FLOAT8
from finetune_converter.verify.gate import failed
from finetune_converter.verify.streamed import TensorPairs, streamed_layer, twin
from finetune_converter.verify.tensors import Models

# Median over tokens of |merged - reference| / |reference|: a token may take another expert on a near tie.
TOLERANCES = {"F32": 1e-4, "BF16": 0.05, "F16": 0.01, FLOAT8: 0.25}


@dataclass(frozen=True, kw_only=True)
class LogitsReport:
    """How the merged model answers, against base + adapter."""

    prompts: int
    tokens: int
    greatest_difference: float
    median_relative_difference: float
    equal_greedy_share: float
    """Share of tokens after which both give the same next token."""


def compare_logits(models: Models, prompts: list[list[int]], advance: Callable[[], None]) -> LogitsReport:
    """Run the prompts through both. Raises Failure when they differ by more than rounding explains."""
    report = _compare(_config(models), TensorPairs(models), prompts, advance)
    dtypes = {output.spec.dtype for output in models.plan.outputs if isinstance(output, Weight)}
    tolerance = max((TOLERANCES.get(dtype, 1e-4) for dtype in dtypes), default=1e-4)
    if not report.median_relative_difference <= tolerance:
        raise failed(
            f"the merged model's logits differ from those of the adapter on the base by "
            f"{report.median_relative_difference:.3g} of their size (the limit is {tolerance})"
        )
    return report


def _config(models: Models) -> DeepseekV3Config:
    config = DeepseekV3Config.from_dict(models.base.config)
    config._attn_implementation = "eager"
    return config


@torch.no_grad()
def _compare(
    config: DeepseekV3Config, pairs: TensorPairs, prompts: list[list[int]], advance: Callable[[], None]
) -> LogitsReport:
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    # Padded on the right, where no token of a causal model looks.
    tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(prompt) for prompt in prompts], batch_first=True)
    positions = torch.arange(tokens.shape[1])
    embedded = pairs.rows("model.embed_tokens.weight", tokens.flatten())
    states = torch.cat([half.reshape(*tokens.shape, -1) for half in embedded])
    inputs = {
        "attention_mask": torch.full((len(positions), len(positions)), float("-inf")).triu(1)[None, None],
        "position_ids": positions[None],
        "position_embeddings": DeepseekV3RotaryEmbedding(config)(states, positions[None]),
    }
    for index in range(config.num_hidden_layers):
        states = streamed_layer(config, index, pairs)(states, **inputs)
        advance()
    norm = twin(DeepseekV3RMSNorm(config.hidden_size, eps=config.rms_norm_eps), "model.norm", pairs)
    valid = positions < lengths[:, None]
    expected, merged = (half[valid] for half in norm(states).chunk(2))
    head = "model.embed_tokens.weight" if config.tie_word_embeddings else "lm_head.weight"
    return _compare_heads(len(prompts), expected, merged, pairs, head)


def _compare_heads(
    prompts: int, expected: torch.Tensor, merged: torch.Tensor, pairs: TensorPairs, head: str
) -> LogitsReport:
    """From the last states [tokens, hidden]: the logits of 129,280 words are compared a band at a time."""
    count, greatest = len(expected), torch.zeros(())
    difference, size = torch.zeros(count), torch.zeros(count)
    best = [(torch.full((count,), float("-inf")), torch.zeros(count, dtype=torch.long)) for _ in range(2)]
    for bands in pairs.bands(head):
        logits = [states @ band.values.T for states, band in zip((expected, merged), bands, strict=True)]
        apart = logits[1] - logits[0]
        difference += apart.square().sum(1)
        size += logits[0].square().sum(1)
        greatest = torch.maximum(greatest, apart.abs().max())
        best = [_better(kept, values, bands[0].start) for kept, values in zip(best, logits, strict=True)]
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
