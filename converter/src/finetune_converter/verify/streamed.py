"""transformers' layers for two models at once, their matrices read band by band while they run.

The first half of every batch belongs to base + adapter, the second to the merged model. No matrix is ever
held: a layer costs the memory of its activations and of two bands, and a matrix that both models share is
read once for both.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.nn.functional import linear

from finetune_converter.verify.architecture import architecture_of
from finetune_converter.verify.stored import StoredTensor
from finetune_converter.verify.tensors import Models, expected_rows

Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class BandPair:
    """Rows [start, stop) in fp32 of base + adapter and of the merged model."""

    start: int
    stop: int
    expected: torch.Tensor
    merged: torch.Tensor


class TensorPairs:
    """Tensors of one layer, or outside of all: base + adapter's and the merged model's, dequantised."""

    def __init__(self, models: Models, layer: int | None) -> None:
        """Loads the layer's adapter."""
        self._models, self._changes = models, models.adapter.changes(layer)

    def bands(self, name: str) -> Iterator[BandPair]:
        """Band after band of rows; one and the same tensor where the merged model has the base's bytes."""
        models = self._models
        base = StoredTensor(models.base, name, models.base_blocks)
        same = models.expected[name].same
        merged = base if same else StoredTensor(models.merged, name, models.blocks)
        for start, stop in merged.ranges():
            before = base.rows(start, stop)
            if same:
                yield BandPair(start=start, stop=stop, expected=before, merged=before)
                continue
            after, _ = expected_rows(self._changes.get(name), before, start, stop, models.adapter)
            yield BandPair(start=start, stop=stop, expected=after, merged=merged.rows(start, stop))

    def rows(self, name: str, rows: torch.Tensor) -> Pair:
        """fp32 [len(rows), columns] of both: the embeddings of these tokens."""
        columns = self._models.base.tensors[name].entry.shape[1]
        found = torch.empty(len(rows), columns), torch.empty(len(rows), columns)
        for band in self.bands(name):
            inside = (rows >= band.start) & (rows < band.stop)
            for target, values in zip(found, (band.expected, band.merged), strict=True):
                target[inside] = values[rows[inside] - band.start]
        return found

    def whole(self, name: str) -> Pair:
        """Both, of a tensor that is small: a norm, the router."""
        shape = self._models.base.tensors[name].entry.shape
        bands = [*self.bands(name)]
        return (
            torch.cat([band.expected for band in bands]).reshape(shape),
            torch.cat([band.merged for band in bands]).reshape(shape),
        )

    def matmul(self, name: str, inputs: torch.Tensor, split: int) -> torch.Tensor:
        """x @ W.T, [count, ..., in] -> [count, ..., out]; the first `split` with base + adapter's W."""
        rows = self._models.base.tensors[name].entry.shape[0]
        outputs = inputs.new_empty(*inputs.shape[:-1], rows)
        for band in self.bands(name):
            outputs[:split, ..., band.start : band.stop] = linear(inputs[:split], band.expected)
            outputs[split:, ..., band.start : band.stop] = linear(inputs[split:], band.merged)
        return outputs


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
        indices, weights = _on_one_way(indices, weights)
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


def _on_one_way(indices: torch.Tensor, weights: torch.Tensor) -> Pair:
    """[2 * tokens, top-k] of both: tokens whose experts differ take those of base + adapter.

    Two experts may be nearly as good for a token, and rounding then decides. What another one computes is no
    error of the merge, and of any size; the router's own tensors are compared as every tensor is.
    """
    (left, right), (theirs, ours) = indices.chunk(2), weights.chunk(2)
    same = (left.sort(1).values == right.sort(1).values).all(1, keepdim=True)
    return torch.cat([left, right.where(same, left)]), torch.cat([theirs, ours.where(same, theirs)])


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


def streamed_layer(config: Any, index: int, models: Models) -> nn.Module:
    """Decoder layer `index` of both models."""
    with torch.device("meta"):
        layer: nn.Module = architecture_of(config).layer(config, index).eval()
    _stream(layer, f"model.layers.{index}", TensorPairs(models, index))
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
