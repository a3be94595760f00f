"""The numbers that LoRA trains: A [rank, in] and B [out, rank] for every weight that a target names."""

from collections.abc import Sequence

from finetune_operator.core.capacity.architecture import Architecture
from finetune_operator.core.capacity.weights import Matrix, layer
from finetune_operator.core.lora_targets import named_modules


def is_adapted(matrix: Matrix, targets: Sequence[str]) -> bool:
    """Return whether a target names a matrix."""
    return (matrix.group, matrix.name) in named_modules(targets)


def adapter_parameters(model: Architecture, targets: Sequence[str], rank: int, *, experts: bool) -> int:
    """Return the numbers that are trained in one layer."""
    adapted = (m for m in layer(model, experts=experts) if is_adapted(m, targets))
    return sum(m.count * rank * (m.rows + m.columns) for m in adapted)
