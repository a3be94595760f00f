"""Logits of base + adapter against the merged model, layer by layer, with one layer's weights in memory.

The layers are transformers' own DeepSeek-V3, in fp32; the weights come through the merge's readers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import DeepseekV3Config
from transformers.models.deepseek_v3.modeling_deepseek_v3 import (
    DeepseekV3DecoderLayer,
    DeepseekV3RMSNorm,
    DeepseekV3RotaryEmbedding,
)

from finetune_converter.adapter.updates import Update
from finetune_converter.checkpoint.dtypes import FLOAT8
from finetune_converter.checkpoint.header_bytes import TensorSpec
from finetune_converter.checkpoint.model_folder import ModelFolder
from finetune_converter.merge.compute import merged_bands
from finetune_converter.merge.dtypes import SCALE
from finetune_converter.merge.plan import Weight
from finetune_converter.verify.gate import failed
from finetune_converter.verify.tensors import Models

Read = Callable[[str], torch.Tensor]

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
    config = _config(models)
    updates = models.adapter.updates
    expected = _logits(
        config, lambda name: _read_whole(models, models.base, name, updates.get(name)), prompts, advance
    )
    merged = _logits(config, lambda name: _read_whole(models, models.merged, name), prompts, advance)
    report = _report(prompts, expected, merged)
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
    config._experts_implementation = "eager"
    return config


def _read_whole(models: Models, folder: ModelFolder, name: str, update: Update | None = None) -> torch.Tensor:
    """A tensor of base or merged model in fp32, dequantised, with its update and not rounded."""
    source = folder.tensors[name]
    spec = TensorSpec(name=name, dtype="F32", shape=source.entry.shape)
    scales = folder.tensors.get(name + SCALE) if source.entry.dtype == FLOAT8 else None
    weight = Weight(spec=spec, source=source, scales=scales, update=update)
    bands = merged_bands(weight, folder, models.adapter, models.plan.block)
    return torch.cat([band.values for band in bands]).reshape(spec.shape)


@torch.no_grad()
def _logits(
    config: DeepseekV3Config, read: Read, prompts: list[list[int]], advance: Callable[[], None]
) -> list[torch.Tensor]:
    """Per prompt [tokens, vocabulary]."""
    rotary = DeepseekV3RotaryEmbedding(config)
    embeddings = read("model.embed_tokens.weight")
    states = [embeddings[torch.tensor(prompt)].unsqueeze(0) for prompt in prompts]
    del embeddings
    for index in range(config.num_hidden_layers):
        layer = _load_layer(config, index, read)
        states = [_run_layer(layer, rotary, state) for state in states]
        del layer
        advance()
    norm = DeepseekV3RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
    norm.weight.copy_(read("model.norm.weight"))
    head = read("model.embed_tokens.weight" if config.tie_word_embeddings else "lm_head.weight")
    return [norm(state)[0] @ head.T for state in states]


def _run_layer(layer: nn.Module, rotary: nn.Module, state: torch.Tensor) -> torch.Tensor:
    length = state.shape[1]
    positions = torch.arange(length).unsqueeze(0)
    mask = torch.full((length, length), float("-inf")).triu(1)[None, None]
    output = layer(
        state,
        attention_mask=mask,
        position_ids=positions,
        position_embeddings=rotary(state, positions),
    )
    hidden: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return hidden


def _load_layer(config: DeepseekV3Config, index: int, read: Read) -> nn.Module:
    """Layer `index` with its weights, the experts stacked as transformers holds them."""
    with torch.device("meta"):
        layer = DeepseekV3DecoderLayer(config, index)
    layer.to_empty(device="cpu").eval()
    prefix = f"model.layers.{index}."
    for name, target in [*layer.named_parameters(), *layer.named_buffers()]:
        if name.startswith("mlp.experts."):
            _load_experts(target, name.removeprefix("mlp.experts."), f"{prefix}mlp.experts", read)
        else:
            target.copy_(read(prefix + name))
    return layer


def _load_experts(target: torch.Tensor, name: str, prefix: str, read: Read) -> None:
    for expert in range(target.shape[0]):
        if name == "gate_up_proj":
            gate = read(f"{prefix}.{expert}.gate_proj.weight")
            target[expert, : gate.shape[0]].copy_(gate)
            target[expert, gate.shape[0] :].copy_(read(f"{prefix}.{expert}.up_proj.weight"))
        else:
            target[expert].copy_(read(f"{prefix}.{expert}.{name}.weight"))


def _report(
    prompts: list[list[int]], expected: list[torch.Tensor], merged: list[torch.Tensor]
) -> LogitsReport:
    theirs, ours = torch.cat(expected), torch.cat(merged)
    difference = ours - theirs
    relative = difference.norm(dim=1) / theirs.norm(dim=1).clamp(min=1e-12)
    return LogitsReport(
        prompts=len(prompts),
        tokens=len(theirs),
        greatest_difference=float(difference.abs().max()),
        median_relative_difference=float(relative.median()),
        equal_greedy_share=float((ours.argmax(1) == theirs.argmax(1)).float().mean()),
    )
