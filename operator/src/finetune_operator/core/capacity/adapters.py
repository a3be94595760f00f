"""The numbers that LoRA trains: A [rank, in] and B [out, rank] for every weight that a target names."""

from collections.abc import Sequence

from finetune_operator.api.lora import SERVED_ATTENTION
from finetune_operator.core.capacity.architecture import Architecture
from finetune_operator.core.capacity.weights import Matrix, layer

# torchtitan's names for the same modules.
_TORCHTITAN = {
    "q_proj": "wq",
    "q_a_proj": "wq_a",
    "q_b_proj": "wq_b",
    "kv_a_proj_with_mqa": "wkv_a",
    "kv_b_proj": "wkv_b",
    "o_proj": "wo",
    "gate_proj": "w1",
    "up_proj": "w3",
    "down_proj": "w2",
}


def is_adapted(matrix: Matrix, targets: Sequence[str]) -> bool:
    """Return whether a target names a matrix, by its group or by one of its names."""
    served = SERVED_ATTENTION if matrix.group == "attention" and matrix.name != "kv_b_proj" else None
    return any(
        target in (matrix.group, matrix.name, _TORCHTITAN.get(matrix.name), served)
        for target in targets
        if matrix.group != "router"
    )


def adapter_parameters(model: Architecture, targets: Sequence[str], rank: int, *, experts: bool) -> int:
    """Return the numbers that are trained in one layer."""
    adapted = (m for m in layer(model, experts=experts) if is_adapted(m, targets))
    return sum(m.count * rank * (m.rows + m.columns) for m in adapted)
