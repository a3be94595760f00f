"""GPU memory of one training process, on the pipeline stage that holds most."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from finetune_operator.core.capacity.activations import (
    LOGIT_BYTES,
    LOGITS_TOKENS,
    Recompute,
    attention_gradients,
    attention_numbers,
    dropped_numbers,
    kept_at_the_end,
    kept_numbers,
)
from finetune_operator.core.capacity.adapters import adapter_parameters
from finetune_operator.core.capacity.architecture import Architecture, Dtype
from finetune_operator.core.capacity.layout import Layout as Layout
from finetune_operator.core.capacity.weights import (
    BYTES,
    Layers,
    Matrix,
    Stage,
    embedding,
    layer,
    training_stages,
)

# float32: the weight, its gradient, and AdamW's two moments.
_TRAINED_BYTES = 4 * 4
# How much of a layer's experts is dequantised, or transposed, at once: CHUNK_BYTES of the trainer's
# model/frozen/weight_only.py and model/frozen/float8_products.py.
_DEQUANTIZED_BYTES = 2**30
_TRANSPOSED_BYTES = 2**29
# Tokens of the fullest expert-parallel rank over the mean: 1.07 at 8 ranks and 1.18 at 32 with a router of
# random weights (bench/results/2026-11-28-full-width-h200.json). A run tells its own as expertRankLoad.
EXPERT_IMBALANCE = 1.2
# Of what context parallelism gathers, in attention's backward pass: as kept, its gradients, and both once
# more as they are put in order; of traced ranks (tests/chain/training/test_traced_671b.py).
_GATHERED_COPIES = 3.75
# The CUDA context, NCCL's buffers, kernels' workspaces and what the allocator cannot use.
OVERHEAD_BYTES = 4_000_000_000


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is trained, and how."""

    model: Architecture
    layout: Layout
    frozen: Dtype
    compute: Dtype
    targets: Sequence[str]
    rank: int
    sequence_length: int
    micro_batch_size: int
    micro_batches: int = 1
    """Micro-batches of a step that each replica works on."""
    recompute: Recompute = "selective"
    dropout: bool = False
    float8_products: bool = False
    float8_head: bool = False
    logits_tokens: int = LOGITS_TOKENS
    logit_bytes: int = LOGIT_BYTES
    number: int = 0
    """Of a pipeline's stage; `training_memory` takes the one that holds most."""

    @property
    def whole_tokens(self) -> int:
        """Tokens of a micro-batch on a tensor-parallel group."""
        return math.ceil(self.micro_batch_size * self.sequence_length / self.layout.context)

    @property
    def tokens(self) -> int:
        """Tokens of a micro-batch on a process; sequence parallelism divides as tensor parallelism does."""
        return math.ceil(self.whole_tokens / self.layout.tensor)

    @property
    def stage(self) -> Stage:
        """The pipeline's stage, the whole model without a pipeline."""
        return training_stages(self.model, self.layout.pipeline)[self.number]

    @property
    def layers(self) -> Layers:
        """Layers of the stage."""
        return self.stage.layers


def training_memory(training: Training) -> dict[str, int]:
    """Return the bytes of one process, by what takes them."""
    stages = (replace(training, number=number) for number in range(training.layout.pipeline))
    return max((_memory_of_stage(stage) for stage in stages), key=lambda parts: sum(parts.values()))


def _memory_of_stage(training: Training) -> dict[str, int]:
    return {
        f"frozen base in {training.frozen}": _frozen(training),
        "layers gathered by FSDP": _gathered(training),
        "adapters, gradients and AdamW": _trained(training),
        **_copied(training),
        "activations": _activations(training),
        "logits, or a layer at work": _at_work(training),
        **_uneven(training),
        **_whole_rows(training),
        **_of_other_contexts(training),
    }


def _frozen(training: Training) -> int:
    model, stage = training.model, training.stage
    matrices = [(count, m) for experts, count in stage.layers for m in layer(model, experts=experts)]
    matrices += [(1, end) for end in _ends(training)]
    shares = (count * m.size(training.frozen) / _divisor(m, training.layout) for count, m in matrices)
    return math.ceil(sum(shares))


def _ends(training: Training) -> list[Matrix]:
    """Return the embeddings and the head, as far as the stage has them."""
    stage = training.stage
    embeddings = [embedding(training.model, "embedding")] if stage.embedding else []
    return [*embeddings, _head(training)] if stage.head else embeddings


def _head(training: Training) -> Matrix:
    """Return the head; in FP8 it is as a layer's linear weights are."""
    head = embedding(training.model, "head")
    return replace(head, group="mlp") if training.float8_head else head


def _divisor(matrix: Matrix, layout: Layout) -> int:
    """Return over how many processes a matrix is divided; experts always over the whole stage."""
    if _stays(matrix, layout):
        return _divided_in_use(matrix, layout)
    return layout.shards * (layout.tensor if matrix.divided else 1)


def _stays(matrix: Matrix, layout: Layout) -> bool:
    """Whether FSDP leaves a matrix where it is (the trainer's model/frozen/resident.py)."""
    shards = layout.expert_shards if matrix.group == "experts" else layout.shards
    return layout.resident or shards == 1


def _gathered(training: Training) -> int:
    """Return what FSDP has whole: a layer and the next; with a pipeline, all of a stage, which it keeps.

    Of a layer alone it has two: what was gathered, and the weights copied out of it. FP8 is gathered as such.
    """
    sizes = [
        (_gathered_of(training, layer(training.model, experts=experts)), count)
        for experts, count in training.layers
        if count
    ]
    if training.layout.pipeline > 1:
        return sum(size * count for size, count in sizes) + _gathered_of(training, _ends(training))
    return 2 * max(size for size, _ in sizes)


def _gathered_of(training: Training, matrices: Iterable[Matrix]) -> int:
    layout = training.layout
    moved = (m for m in matrices if not _stays(m, layout))
    return math.ceil(sum(m.size(training.frozen) / _divided_in_use(m, layout) for m in moved))


def _divided_in_use(matrix: Matrix, layout: Layout) -> int:
    if matrix.group == "experts" and layout.expert > 1:
        return layout.expert
    return layout.tensor if matrix.divided else 1


def _copied(training: Training) -> dict[str, int]:
    """Return the bytes of the largest matrix in FP8, or of the piece of it that is copied at once."""
    if training.frozen != "float8":
        return {}
    matrices = layer(training.model, experts=True)
    largest = max(m.parameters // _divided_in_use(m, training.layout) for m in matrices)
    if training.float8_products:
        return {"weights transposed for use": min(largest, _TRANSPOSED_BYTES)}
    return {"weights dequantised for use": min(largest * BYTES[training.compute], _DEQUANTIZED_BYTES)}


def _trained(training: Training) -> int:
    """Return the adapters' share; tensor parallelism is not counted, as it leaves A or B whole."""
    numbers = sum(
        count * adapter_parameters(training.model, training.targets, training.rank, experts=experts)
        for experts, count in training.layers
    )
    return math.ceil(numbers * _TRAINED_BYTES / training.layout.shards)


def _activations(training: Training) -> int:
    """Return what the layers keep, of all micro-batches that a stage has in flight, and the last norm."""
    in_flight = min(1 + training.stage.following, training.micro_batches)
    layers = sum(
        count * _kept(training, training.recompute, experts=experts) for experts, count in training.layers
    )
    end = kept_at_the_end(training.model) if training.stage.head else 0
    return _bytes(training, in_flight * layers + end)


def _at_work(training: Training) -> int:
    """Return the most of what the loss and, backward, a layer's two halves compute; they take turns.

    That is the gradient of what experts return; and where a layer is computed again, the layer itself, and
    that gradient as it is sent to experts on other ranks and as it is received there.
    """
    piece = min(training.whole_tokens, training.logits_tokens)
    logits = piece * training.model.vocab_size * training.logit_bytes // training.layout.tensor
    logits = logits if training.stage.head else 0
    gradient = training.model.num_experts_per_tok * training.model.hidden_size
    if training.recompute == "none":
        return max(logits, _bytes(training, gradient), _attention_at_work(training))
    kept = _kept(training, "none", experts=True) + _others_again(training)
    experts = kept + _copies_of_rows(training) * gradient
    return max(logits, _bytes(training, experts), _attention_at_work(training))


def _copies_of_rows(training: Training) -> int:
    """Return how often the gradient of experts' rows is there: put together of parts, where a weight in FP8
    is dequantised in parts, and sent, where experts are on other ranks."""
    if training.layout.expert > 1:
        return 3
    matrices = (m for m in layer(training.model, experts=True) if m.group == "experts")
    largest = max(m.parameters * BYTES[training.compute] for m in matrices)
    dequantised = training.frozen == "float8" and not training.float8_products
    return 2 if dequantised and largest > _DEQUANTIZED_BYTES else 1


def _attention_at_work(training: Training) -> int:
    """Return what attention's backward pass has where it has gathered keys and values; elsewhere experts,
    whose turn is another, have more."""
    if training.layout.context == 1:
        return 0
    kept = 0 if training.recompute == "none" else attention_numbers(training.model)
    copies = _GATHERED_COPIES if training.recompute == "full" else _GATHERED_COPIES - 1
    gathered = math.ceil(copies * _others(training))
    return _bytes(training, kept + attention_gradients(training.model) + gathered)


def _others(training: Training) -> int:
    """Return the numbers of the other contexts' keys and values, for each token of this rank."""
    model = training.model
    return (training.layout.context - 1) * model.num_attention_heads * (model.qk_head_dim + model.v_head_dim)


def _others_again(training: Training) -> int:
    """Return the same where the layer at work has gathered them anew, and no layer kept them."""
    return _others(training) if training.recompute == "full" else 0


def _uneven(training: Training) -> dict[str, int]:
    """Return what the fullest of the ranks that share a layer's experts is sent beyond the mean.

    The states of tokens, what experts compute of them, and gradients; of the layer at work, as the rank that
    is the fullest in one layer is not in the others.
    """
    if training.layout.expert == 1:
        return {}
    model = training.model
    numbers = model.num_experts_per_tok * (2 * model.moe_intermediate_size + 4 * model.hidden_size)
    return {"unevenly loaded experts": math.ceil((EXPERT_IMBALANCE - 1) * _bytes(training, numbers))}


def _whole_rows(training: Training) -> dict[str, int]:
    """Return what tensor parallelism leaves whole where it divides each expert: the rows that experts take
    and give. Of the layer at work what they take, and its gradient; what they give each layer keeps."""
    layout, model = training.layout, training.model
    if layout.tensor == 1 or layout.expert > 1:
        return {}
    kept = sum(count for experts, count in training.layers if experts) if training.recompute == "none" else 1
    rows = training.whole_tokens * model.num_experts_per_tok
    numbers = rows * model.hidden_size * (2 + kept * (1 - 1 / layout.tensor))
    return {"tokens whole for experts": math.ceil(numbers * BYTES[training.compute])}


def _of_other_contexts(training: Training) -> dict[str, int]:
    """Return what context parallelism gathers, keys and values of the other ranks, where layers keep it."""
    if training.layout.context == 1 or training.recompute == "full":
        return {}
    layers = sum(count for _, count in training.layers)
    return {"keys and values of others": _bytes(training, layers * _others(training))}


def _bytes(training: Training, numbers_a_token: int) -> int:
    return numbers_a_token * training.tokens * BYTES[training.compute]


def _kept(training: Training, recompute: Recompute, *, experts: bool) -> int:
    model, targets = training.model, training.targets
    is_dropped = training.dropout and recompute == "none"
    dropped = dropped_numbers(model, targets, experts=experts) if is_dropped else 0
    dispatched = training.layout.expert > 1
    return dropped + kept_numbers(model, targets, recompute, experts=experts, dispatched=dispatched)
