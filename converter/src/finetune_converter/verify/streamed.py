"""transformers' DeepSeek-V3 layers for two models at once, their matrices read band by band while they run.

The first half of every batch belongs to base + adapter, the second to the merged model. No matrix is ever
held: a layer costs the memory of its activations and of two bands, and a matrix that both models share is
read once for both.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import nn
from torch.nn.functional import linear
from transformers import DeepseekV3Config
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3DecoderLayer

from finetune_converter.adapter.updates import Update
from finetune_converter.merge.compute import Band, merged_bands
from finetune_converter.merge.plan import Carry, Weight
from finetune_converter.model_files.dtypes import FLOAT8
from finetune_converter.model_files.header_bytes import TensorSpec
from finetune_converter.model_files.model_folder import ModelFolder
from finetune_converter.model_files.quantization import SCALE
from finetune_converter.verify.tensors import Models

Pair = tuple[torch.Tensor, torch.Tensor]


class TensorPairs:
    """A tensor of base + adapter and the merged model's, in fp32, dequantised."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._carried = {output.spec.name for output in models.plan.outputs if isinstance(output, Carry)}

    def bands(self, name: str) -> Iterator[tuple[Band, Band]]:
        """Band after band of rows; one and the same object where the merged model has the base's bytes."""
        base, merged = self._models.base, self._models.merged
        if name in self._carried:
            for band in self._bands(base, name, None):
                yield band, band
            return
        update = self._models.adapter.updates.get(name)
        yield from zip(self._bands(base, name, update), self._bands(merged, name, None), strict=True)

    def rows(self, name: str, rows: torch.Tensor) -> Pair:
        """fp32 [len(rows), columns] of both: the embeddings of these tokens."""
        columns = self._models.base.tensors[name].entry.shape[1]
        found = torch.empty(len(rows), columns), torch.empty(len(rows), columns)
        for pair in self.bands(name):
            inside = (rows >= pair[0].start) & (rows < pair[0].stop)
            for target, band in zip(found, pair, strict=True):
                target[inside] = band.values[rows[inside] - band.start]
        return found

    def whole(self, name: str) -> Pair:
        """Both, of a tensor that is small: a norm, the router."""
        shape = self._models.base.tensors[name].entry.shape
        expected, merged = zip(*self.bands(name), strict=True)
        return (
            torch.cat([band.values for band in expected]).reshape(shape),
            torch.cat([band.values for band in merged]).reshape(shape),
        )

    def matmul(self, name: str, inputs: torch.Tensor, split: int) -> torch.Tensor:
        """x @ W.T, [count, ..., in] -> [count, ..., out]; the first `split` with base + adapter's W."""
        rows = self._models.base.tensors[name].entry.shape[0]
        outputs = inputs.new_empty(*inputs.shape[:-1], rows)
        for expected, merged in self.bands(name):
            outputs[:split, ..., expected.start : expected.stop] = linear(inputs[:split], expected.values)
            outputs[split:, ..., merged.start : merged.stop] = linear(inputs[split:], merged.values)
        return outputs

    def _bands(self, folder: ModelFolder, name: str, update: Update | None) -> Iterator[Band]:
        source = folder.tensors[name]
        spec = TensorSpec(name=name, dtype="F32", shape=source.entry.shape)
        scales = folder.tensors.get(name + SCALE) if source.entry.dtype == FLOAT8 else None
        weight = Weight(spec=spec, source=source, scales=scales, update=update)
        return merged_bands(weight, folder, self._models.factors, self._models.plan.block)


class StreamedLinear(nn.Module):
    """A linear layer without weights of its own."""

    def __init__(self, pairs: TensorPairs, name: str, *, bias: bool) -> None:
        super().__init__()
        self._pairs, self._name, self._bias = pairs, name, bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """[2 * batch, ..., in] -> [2 * batch, ..., out]."""
        half = len(inputs) // 2
        outputs = self._pairs.matmul(f"{self._name}.weight", inputs, half)
        if self._bias:
            for part, bias in zip(outputs.chunk(2), self._pairs.whole(f"{self._name}.bias"), strict=True):
                part.add_(bias)
        return outputs


class StreamedExperts(nn.Module):
    """Routed experts, one at a time, and only those that a token takes."""

    def __init__(
        self, pairs: TensorPairs, name: str, activation: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        super().__init__()
        self._pairs, self._name, self._activation = pairs, name, activation

    def forward(self, states: torch.Tensor, indices: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """states [2 * tokens, hidden], indices and weights [2 * tokens, top-k] -> like states."""
        outputs, half = torch.zeros_like(states), len(states) // 2
        for expert in sorted(set(indices.flatten().tolist())):
            tokens, slots = torch.where(indices == expert)
            result = self._expert(expert, states[tokens], split=int((tokens < half).sum()))
            outputs.index_add_(0, tokens, result * weights[tokens, slots, None])
        return outputs

    def _expert(self, expert: int, states: torch.Tensor, split: int) -> torch.Tensor:
        name = f"{self._name}.{expert}"
        gate = self._pairs.matmul(f"{name}.gate_proj.weight", states, split)
        up = self._pairs.matmul(f"{name}.up_proj.weight", states, split)
        return self._pairs.matmul(f"{name}.down_proj.weight", self._activation(gate) * up, split)


class Twin(nn.Module):
    """A small module of each model, each for its half of the batch."""

    def __init__(self, expected: nn.Module, merged: nn.Module) -> None:
        super().__init__()
        self._expected, self._merged = expected, merged

    def forward(self, inputs: torch.Tensor) -> Any:
        left, right = inputs.chunk(2)
        theirs, ours = self._expected(left), self._merged(right)
        if isinstance(theirs, tuple):
            return tuple(torch.cat(both) for both in zip(theirs, ours, strict=True))
        return torch.cat((theirs, ours))


def streamed_layer(config: DeepseekV3Config, index: int, pairs: TensorPairs) -> nn.Module:
    """Decoder layer `index` of both models."""
    with torch.device("meta"):
        layer = DeepseekV3DecoderLayer(config, index).eval()
    _stream(layer, f"model.layers.{index}", pairs)
    return layer


def _stream(module: nn.Module, prefix: str, pairs: TensorPairs) -> None:
    """Replace every part that has weights."""
    for name, child in list(module.named_children()):
        full = f"{prefix}.{name}"
        if full.endswith(".mlp.experts"):
            setattr(module, name, StreamedExperts(pairs, full, cast(nn.Module, child.act_fn)))
        elif isinstance(child, nn.Linear):
            setattr(module, name, StreamedLinear(pairs, full, bias=child.bias is not None))
        elif [*child.parameters(recurse=False)]:
            setattr(module, name, twin(child, full, pairs))
        else:
            _stream(child, full, pairs)


def twin(module: nn.Module, name: str, pairs: TensorPairs) -> Twin:
    """`module` with the weights of each model."""
    tensors = {key: pairs.whole(f"{name}.{key}") for key in module.state_dict()}
    return Twin(*(_loaded(module, {key: both[side] for key, both in tensors.items()}) for side in (0, 1)))


def _loaded(module: nn.Module, tensors: dict[str, torch.Tensor]) -> nn.Module:
    copied = copy.deepcopy(module)
    copied.load_state_dict(tensors, assign=True)
    return copied.requires_grad_(False)
