"""Adapters and their optimizer state as whole tensors, one safetensors file per layer.

Whole tensors make a checkpoint independent of how many processes wrote it and read it back; a layer's file
bounds the memory of gathering them (experts' adapters of 671B are 26 GB in all) and lets the ranks that
share a layer take turns in writing.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torchtitan.components.optimizer import OptimizersContainer
from torchtitan.components.optimizer.utils import init_optim_state

from finetune_trainer.contract.failure import CheckpointError
from finetune_trainer.distributed.shards import local_tensor, shard_slices


@dataclass(frozen=True)
class TrainedParameter:
    """An adapter's parameter and what the optimizer remembers of it, by name ("exp_avg", "step", ...)."""

    name: str
    parameter: torch.Tensor
    state: Mapping[str, torch.Tensor]

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        yield self.name, self.parameter
        for key, value in self.state.items():
            yield f"{self.name}/{key}", value


def trained_parameters(optimizers: OptimizersContainer) -> dict[str, list[TrainedParameter]]:
    """This rank's trained parameters by the file they are stored in."""
    files: dict[str, list[TrainedParameter]] = defaultdict(list)
    for optimizer in optimizers:
        _initialize_state(optimizer)
        for group in optimizer.param_groups:
            for name, parameter in zip(group["param_names"], group["params"], strict=True):
                files[layer_file(name)].append(TrainedParameter(name, parameter, optimizer.state[parameter]))
    return dict(files)


def _initialize_state(optimizer: torch.optim.Optimizer) -> None:
    """Have `optimizer` make its state, where it has none yet, as if it had taken no step.

    torchtitan does it by a step with gradients of zero, which Adam's correction of its first means' bias
    (Kingma and Ba 2015, algorithm 1) would count: the first update would be 0.744 of the learning rate.
    """
    if optimizer.state:
        return
    init_optim_state(optimizer)
    for state in optimizer.state.values():
        state["step"].zero_()


def layer_bytes(optimizers: OptimizersContainer) -> dict[str, int]:
    """How much each of this rank's layers takes in a checkpoint, by its file."""
    return {
        file: sum(
            tensor.numel() * tensor.element_size()
            for parameter in parameters
            for _, tensor in parameter.tensors()
        )
        for file, parameters in trained_parameters(optimizers).items()
    }


def layer_file(name: str) -> str:
    """The file of the layer that parameter `name` belongs to."""
    layer = re.match(r"layers\.(\d+)\.", name)
    if layer is None:
        raise ValueError(f"{name} is in no layer")
    return f"layer-{layer[1]}.safetensors"


@dataclass(frozen=True)
class Part:
    """A part of the tensor `name` of size `shape`: from `start` up to `end`, one number per dimension."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    start: tuple[int, ...]
    end: tuple[int, ...]

    @property
    def slices(self) -> tuple[slice, ...]:
        return tuple(slice(start, end) for start, end in zip(self.start, self.end, strict=True))

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(end - start for start, end in zip(self.start, self.end, strict=True))

    @property
    def bytes(self) -> int:
        return math.prod(self.sizes) * self.dtype.itemsize


def held_parts(parameters: Iterable[TrainedParameter]) -> dict[Part, torch.Tensor]:
    """What this rank holds, by its place in the whole tensors: the storage itself, not a copy."""
    return {
        _part(name, tensor): values
        for parameter in parameters
        for name, tensor in parameter.tensors()
        if (values := local_tensor(tensor).detach()).numel()
    }


def _part(name: str, tensor: torch.Tensor) -> Part:
    """What this rank holds of `tensor`."""
    slices = shard_slices(tensor)
    return Part(
        name,
        tuple(tensor.shape),
        tensor.dtype,
        tuple(piece.start for piece in slices),
        tuple(piece.stop for piece in slices),
    )


def write_tensors(tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)


def check_finite(file: Path) -> None:
    """Raise CheckpointError, naming the tensor of `file` that has a value which is NaN or infinite."""
    with safe_open(file, framework="pt") as source:
        for name in source.keys():  # noqa: SIM118 (safe_open cannot be iterated)
            tensor = source.get_tensor(name)
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise CheckpointError(
                    f"{file}: {name} is not finite, so this checkpoint is not kept",
                    remedy="Lower training.learningRate; the run goes on from the checkpoint before",
                )


def read_tensors(parameters: Iterable[TrainedParameter], file: Path) -> None:
    """Copy this rank's slices out of `file`. Raises CheckpointError naming the tensor that does not fit."""
    try:
        with safe_open(file, framework="pt") as source:
            for parameter in parameters:
                for name, tensor in parameter.tensors():
                    _read_tensor(source.get_slice(name), tensor, file, name)
    except (SafetensorError, OSError) as error:
        raise _unfit(f"{file} cannot be read ({error})") from error


@torch.no_grad()
def _read_tensor(source: object, tensor: torch.Tensor, file: Path, name: str) -> None:
    shape = tuple(source.get_shape())  # type: ignore[attr-defined]
    if shape != tuple(tensor.shape):
        raise _unfit(f"{file}: {name} has shape {list(shape)}, this run needs {list(tensor.shape)}")
    target = local_tensor(tensor)
    if target.numel():
        target.copy_(source[shard_slices(tensor)] if shape else source[...])  # type: ignore[index]


def _unfit(message: str) -> CheckpointError:
    return CheckpointError(message)
