"""Load a Hugging Face base into the sharded model: each rank reads its own slices only."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import nn
from torchtitan.models.deepseek_v3 import DeepSeekV3Model

from finetune_trainer.base.hf_config import check_hf_config
from finetune_trainer.base.tensors import BaseTensors
from finetune_trainer.model.frozen import is_adapter
from finetune_trainer.model.names import CheckpointNames
from finetune_trainer.shards import local_tensor, shard_slices


def load_base(model_parts: Sequence[nn.Module], model: DeepSeekV3Model.Config, folder: Path) -> None:
    """Fill every frozen parameter and the routers' biases from the checkpoint in `folder`.

    Everything is checked before anything is read. Tensors that the model does not have (the layer for
    multi-token prediction) are left alone. Raises DataError naming file and tensor.
    """
    check_hf_config(model, folder)
    names = CheckpointNames.of(model)
    tensors = BaseTensors(folder)
    frozen = [(name, tensor) for part in model_parts for name, tensor in frozen_tensors(part)]
    for name, tensor in frozen:
        _check(name, tensor, names, tensors)
    for name, tensor in frozen:
        _load(name, tensor, names, tensors)


def frozen_tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """What a base checkpoint holds of the model, by name."""
    for name, tensor in model.state_dict().items():
        if not is_adapter(name):
            yield name, tensor


def _check(name: str, tensor: torch.Tensor, names: CheckpointNames, tensors: BaseTensors) -> None:
    hf_names = names.tensors(name, num_experts=tensor.shape[0])
    shape = tuple(tensor.shape) if len(hf_names) == 1 else tuple(tensor.shape[1:])
    for hf_name in hf_names:
        tensors.check(hf_name, shape)


@torch.no_grad()
def _load(name: str, tensor: torch.Tensor, names: CheckpointNames, tensors: BaseTensors) -> None:
    hf_names = names.tensors(name, num_experts=tensor.shape[0])
    target, part = local_tensor(tensor), shard_slices(tensor)
    if not target.numel():
        return
    if len(hf_names) == 1:
        target.copy_(tensors.read(hf_names[0], part))
        return
    experts, *inner = part
    for position, hf_name in enumerate(hf_names[experts]):
        target[position].copy_(tensors.read(hf_name, tuple(inner)))
