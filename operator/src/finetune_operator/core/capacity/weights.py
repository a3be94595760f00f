"""What a model's weights take: every matrix by its shape, and the bytes of each data type."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from finetune_operator.core.capacity.architecture import Architecture, Dtype

Group = Literal["attention", "mlp", "experts", "router", "embedding", "head", "mtp"]

# Whether layers have experts, and how many there are of these.
Layers = tuple[tuple[bool, int], ...]

BYTES: dict[Dtype, int] = {"float32": 4, "bfloat16": 2, "float16": 2, "float8": 1}
FP8_BLOCK = 128

# FP8 checkpoints keep routers, norms, embeddings and the head in bfloat16.
_QUANTIZED = ("attention", "mlp", "experts")
# Tensor parallelism leaves these whole on every rank, in torchtitan and in vLLM.
_NOT_DIVIDED = ("q_a_proj", "kv_a_proj_with_mqa", "gate", "eh_proj")


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Linear weights of one shape [rows, columns] (out, in), by the last part of their name."""

    name: str
    group: Group
    rows: int
    columns: int
    count: int = 1

    @property
    def parameters(self) -> int:
        """Numbers in all of them."""
        return self.count * self.rows * self.columns

    @property
    def divided(self) -> bool:
        """Whether tensor parallelism divides it."""
        return self.name not in _NOT_DIVIDED

    def size(self, dtype: Dtype) -> int:
        """Bytes; in FP8 with a float32 scale for each block of 128 x 128, ragged ones included."""
        if dtype != "float8":
            return self.parameters * BYTES[dtype]
        if self.group not in _QUANTIZED:
            return self.parameters * BYTES["bfloat16"]
        blocks = math.ceil(self.rows / FP8_BLOCK) * math.ceil(self.columns / FP8_BLOCK)
        return self.parameters + self.count * blocks * BYTES["float32"]


def attention(model: Architecture) -> Iterator[Matrix]:
    """Yield a layer's MLA projections."""
    h, heads = model.hidden_size, model.num_attention_heads
    queries = heads * model.qk_head_dim
    if model.q_lora_rank:
        yield Matrix(name="q_a_proj", group="attention", rows=model.q_lora_rank, columns=h)
        yield Matrix(name="q_b_proj", group="attention", rows=queries, columns=model.q_lora_rank)
    else:
        yield Matrix(name="q_proj", group="attention", rows=queries, columns=h)
    latent = model.kv_lora_rank
    yield Matrix(
        name="kv_a_proj_with_mqa", group="attention", rows=latent + model.qk_rope_head_dim, columns=h
    )
    expanded = heads * (model.qk_nope_head_dim + model.v_head_dim)
    yield Matrix(name="kv_b_proj", group="attention", rows=expanded, columns=latent)
    yield Matrix(name="o_proj", group="attention", rows=h, columns=heads * model.v_head_dim)


def feed_forward(model: Architecture, *, experts: bool) -> Iterator[Matrix]:
    """Yield the rest of a layer: a dense feed-forward, or router, shared and routed experts."""
    if not experts:
        yield from _gated(model, "mlp", model.intermediate_size)
        return
    yield Matrix(name="gate", group="router", rows=model.n_routed_experts, columns=model.hidden_size)
    yield from _gated(model, "mlp", model.n_shared_experts * model.moe_intermediate_size)
    yield from _gated(model, "experts", model.moe_intermediate_size, model.n_routed_experts)


def layer(model: Architecture, *, experts: bool) -> tuple[Matrix, ...]:
    """Return all matrices of a layer."""
    return (*attention(model), *feed_forward(model, experts=experts))


def layers_of_stage(model: Architecture, pipeline: int) -> Layers:
    """Return how many layers without and with experts the fullest of that many pipeline stages has."""
    stage = math.ceil(model.num_hidden_layers / pipeline)
    dense = model.first_k_dense_replace if pipeline == 1 else 0
    return ((False, dense), (True, stage - dense))


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What of a model a stage of a training's pipeline has."""

    layers: Layers
    embedding: bool
    head: bool
    following: int
    """Stages behind it: so many micro-batches more than one it has in work at once (1F1B)."""


def training_stages(model: Architecture, pipeline: int) -> list[Stage]:
    """Return the stages, as torchtitan divides a model: embeddings and head count as a layer each."""
    least, more = divmod(model.num_hidden_layers + 2, pipeline)
    stages, start = [], 0
    for number in range(pipeline):
        first, last = number == 0, number == pipeline - 1
        count = max(0, least + (number < more) - first - last)
        dense = max(0, min(model.first_k_dense_replace - start, count))
        stages.append(
            Stage(
                layers=((False, dense), (True, count - dense)),
                embedding=first,
                head=last,
                following=pipeline - 1 - number,
            )
        )
        start += count
    return stages


def embedding(model: Architecture, group: Literal["embedding", "head"]) -> Matrix:
    """Return the embeddings or the output head; they are not tied."""
    return Matrix(name=group, group=group, rows=model.vocab_size, columns=model.hidden_size)


def draft_projection(model: Architecture) -> Matrix:
    """Return the multi-token layer's projection of a state and an embedding, side by side."""
    return Matrix(name="eh_proj", group="mtp", rows=model.hidden_size, columns=2 * model.hidden_size)


def layer_bytes(model: Architecture, dtype: Dtype, *, experts: bool) -> int:
    """Return the bytes of a layer, with norms and the experts' float32 biases."""
    norms = 2 * model.hidden_size + model.q_lora_rank + model.kv_lora_rank
    bias = BYTES["float32"] * model.n_routed_experts if experts and model.has_expert_bias else 0
    return _sum(layer(model, experts=experts), dtype) + norms * _unquantized(dtype) + bias


def model_bytes(model: Architecture, dtype: Dtype) -> int:
    """Return the bytes that are computed with: no layer for multi-token prediction."""
    layers = model.first_k_dense_replace * layer_bytes(model, dtype, experts=False)
    layers += model.moe_layers * layer_bytes(model, dtype, experts=True)
    ends = _sum((embedding(model, "embedding"), embedding(model, "head")), dtype)
    return layers + ends + model.hidden_size * _unquantized(dtype)


def checkpoint_bytes(model: Architecture, dtype: Dtype) -> int:
    """Return the bytes of the tensors in a checkpoint, with its layers for multi-token prediction.

    Such a layer has its own copies of embeddings and head, a projection [hidden, 2 hidden] and three norms:
    https://github.com/deepseek-ai/DeepSeek-V3/blob/main/README_WEIGHTS.md
    """
    h = model.hidden_size
    extra = (embedding(model, "embedding"), embedding(model, "head"), draft_projection(model))
    block = layer_bytes(model, dtype, experts=True) + _sum(extra, dtype) + 3 * h * _unquantized(dtype)
    return model_bytes(model, dtype) + model.num_nextn_predict_layers * block


def _gated(model: Architecture, group: Group, width: int, count: int = 1) -> Iterator[Matrix]:
    for name in ("gate_proj", "up_proj"):
        yield Matrix(name=name, group=group, rows=width, columns=model.hidden_size, count=count)
    yield Matrix(name="down_proj", group=group, rows=model.hidden_size, columns=width, count=count)


def _sum(matrices: tuple[Matrix, ...], dtype: Dtype) -> int:
    return sum(matrix.size(dtype) for matrix in matrices)


def _unquantized(dtype: Dtype) -> int:
    return BYTES["bfloat16" if dtype == "float8" else dtype]
