"""The random generators' states of all ranks as tensors: "rank0.cpu", "rank0.cuda", "rank1.cpu", ..."""

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist


def random_states() -> dict[str, torch.Tensor]:
    """Of this rank, by device."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def by_rank(states: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The states of all ranks in one."""
    return {f"rank{rank}.{device}": value for rank, own in enumerate(states) for device, value in own.items()}


def restore_random_states(states: Mapping[str, torch.Tensor]) -> None:
    """Set this rank's generators."""
    prefix = f"rank{dist.get_rank()}"
    torch.set_rng_state(states[f"{prefix}.cpu"])
    if f"{prefix}.cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states[f"{prefix}.cuda"])
