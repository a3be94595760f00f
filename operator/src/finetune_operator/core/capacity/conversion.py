"""Host memory of the converter, and what a job puts into its volume."""

from collections.abc import Sequence

from finetune_operator.core.capacity.adapters import adapter_parameters
from finetune_operator.core.capacity.architecture import Architecture, Dtype
from finetune_operator.core.capacity.weights import BYTES, checkpoint_bytes

# A process of merge or verify: the interpreter, torch, and bands of rows, at any size of model.
CONVERSION_BYTES = 1_500_000_000
# A checkpoint: the adapter and AdamW's two moments, in float32.
_SAVED_BYTES = 3 * 4


def volume_bytes(
    model: Architecture,
    *,
    export: Dtype | None,
    targets: Sequence[str],
    rank: int,
    checkpoints: int,
    adapters: bool = False,
) -> dict[str, int]:
    """Return the bytes in the volume at the end of a job. export: None where nothing is merged.

    A checkpoint is written before the oldest is removed; the adapter is there once more by itself, and with
    `adapters` in each checkpoint too.
    """
    numbers = model.first_k_dense_replace * adapter_parameters(model, targets, rank, experts=False)
    numbers += model.moe_layers * adapter_parameters(model, targets, rank, experts=True)
    saved = _SAVED_BYTES + (BYTES["float32"] if adapters else 0)
    merged = {f"merged model in {export}": checkpoint_bytes(model, export)} if export else {}
    return {
        f"base model in {model.dtype}": checkpoint_bytes(model, model.dtype),
        **merged,
        "checkpoints and adapter": numbers * ((checkpoints + 1) * saved + BYTES["float32"]),
    }
