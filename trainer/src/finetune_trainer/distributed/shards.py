"""Which part of a whole tensor a rank holds."""

import torch
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset


def local_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """The storage that this rank holds of `tensor`."""
    return tensor._local_tensor if isinstance(tensor, DTensor) else tensor.detach()


def shard_slices(tensor: torch.Tensor) -> tuple[slice, ...]:
    """Where this rank's part lies in the whole tensor, one slice per dimension."""
    if not isinstance(tensor, DTensor):
        return tuple(slice(0, size) for size in tensor.shape)
    shape, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    return tuple(slice(start, start + size) for start, size in zip(offset, shape, strict=True))
