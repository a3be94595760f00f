"""Load a Hugging Face base into the sharded model: each rank reads its own slices only."""

import logging
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torchtitan.models.deepseek_v3 import DeepSeekV3Model

from finetune_trainer.base.float8 import SCALE_SUFFIX
from finetune_trainer.base.hf_config import CONFIG, check_hf_config, read_hf_config
from finetune_trainer.base.rope import read_rope
from finetune_trainer.base.tensors import BaseTensors
from finetune_trainer.contract.failure import DataError, Reason
from finetune_trainer.distributed.shards import local_tensor, shard_slices
from finetune_trainer.model.build import shape_of
from finetune_trainer.model.lora.names import is_adapter
from finetune_trainer.model.names import CheckpointNames
from finetune_trainer.model.rope import rope_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Read:
    """One tensor of the checkpoint, or a part of it, and where in this rank's memory it goes."""

    hf_name: str
    part: tuple[slice, ...]
    target: torch.Tensor
    scales: tuple[int, ...] | None = None
    """How many scales there are a dimension of the whole tensor, where they are read and not its values."""


OnRead = Callable[[int, int], None]
"""Is told the bytes that are read, and those that are to be read in all, by this rank."""


def load_base(
    model_parts: Sequence[nn.Module],
    model: DeepSeekV3Model.Config,
    folder: Path,
    on_read: OnRead = lambda _done, _total: None,
) -> None:
    """Fill every frozen parameter and the routers' biases from the checkpoint in `folder`.

    Everything is checked before anything is read. Tensors that the model does not have (the layer for
    multi-token prediction) are left alone. Raises DataError naming file and tensor.
    """
    check_hf_config(shape_of(model), folder)
    _check_rope(model, folder)
    names = CheckpointNames.of(model)
    tensors = BaseTensors(folder)
    frozen = [(name, tensor) for part in model_parts for name, tensor in frozen_tensors(part)]
    for name, tensor in frozen:
        check_tensor(name, tensor, names, tensors)
    start, size = time.perf_counter(), 0
    reads = [read for name, tensor in frozen for read in planned_reads(name, tensor, names)]
    total = sum(read.target.nbytes for read in reads)
    for read in reads:
        on_read(size, total)
        _load(read, tensors)
        size += read.target.nbytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # KiB on Linux; counts the files' pages
    logger.info(
        "loaded %.1f GB of the base in %.1f s; this process had at most %.1f GB of host memory",
        size / 1e9,
        time.perf_counter() - start,
        peak / 1e9,
    )


def _check_rope(model: DeepSeekV3Model.Config, folder: Path) -> None:
    found, computed = read_rope(read_hf_config(folder), folder / CONFIG), rope_of(model)
    if found != computed:
        raise DataError(
            f"{folder / CONFIG}: the base's rope is {found}, the model computes with {computed}",
            Reason.BASE_INVALID,
            remedy="Train by a run file, which takes the rope from the base",
        )


def frozen_tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """What a base checkpoint holds of the model, by name."""
    for name, tensor in model.state_dict().items():
        if not is_adapter(name):
            yield name, tensor


def planned_reads(name: str, tensor: torch.Tensor, names: CheckpointNames) -> Iterator[Read]:
    """What this rank reads to fill its part of `tensor`: one read, or one an expert it holds."""
    scales = tuple(tensor.shape[-2:]) if name.endswith(SCALE_SUFFIX) else None
    hf_names = names.tensors(name.removesuffix(SCALE_SUFFIX), num_experts=tensor.shape[0])
    target, part = local_tensor(tensor), shard_slices(tensor)
    if not target.numel():
        return
    if len(hf_names) == 1:
        yield Read(hf_name=hf_names[0], part=part, target=target, scales=scales)
        return
    experts, *inner = part
    for position, hf_name in enumerate(hf_names[experts]):
        yield Read(hf_name=hf_name, part=tuple(inner), target=target[position], scales=scales)


def check_tensor(name: str, tensor: torch.Tensor, names: CheckpointNames, tensors: BaseTensors) -> None:
    """Raise DataError unless the checkpoint has what `tensor` of the model takes, in its shape."""
    if name.endswith(SCALE_SUFFIX):
        return  # checked with its weight
    hf_names = names.tensors(name, num_experts=tensor.shape[0])
    shape = tuple(tensor.shape) if len(hf_names) == 1 else tuple(tensor.shape[1:])
    for hf_name in hf_names:
        tensors.check(hf_name, shape)


@torch.no_grad()
def _load(read: Read, tensors: BaseTensors) -> None:
    if read.scales:
        scales = tensors.read_scales(read.hf_name, _of_matrix(read.part), read.scales, read.target.device)
        read.target.view(torch.float32).copy_(scales)
    elif read.target.dtype in (torch.uint8, torch.float8_e4m3fn):
        values = tensors.read_float8(read.hf_name, _of_matrix(read.part), read.target.device)
        read.target.view(torch.uint8).copy_(values.view(torch.uint8))
    else:
        read.target.copy_(tensors.read(read.hf_name, read.part, read.target.device))


def _of_matrix(part: tuple[slice, ...]) -> tuple[slice, slice]:
    rows, columns = part
    return rows, columns
