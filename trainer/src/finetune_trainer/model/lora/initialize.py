"""The first values of the adapters, the same at any sharding."""

import hashlib
import math

import torch
from torch import nn

from finetune_trainer.distributed.shards import local_tensor, shard_slices
from finetune_trainer.model.lora.names import is_adapter


@torch.no_grad()
def initialize_adapters(model: nn.Module, seed: int) -> None:
    """A as PEFT draws it, uniform in +-1/sqrt(in); B zero, so that training starts from the base; and of
    a magnitude what is trained beside the base's.

    Each tensor is drawn whole from a generator of its own (seed, name) and then sliced: drawing on the
    shards would give other values at every number of processes. Names are those of the state dict: where
    layers are recomputed, a parameter's own name tells of that too.
    """
    for name, parameter in model.state_dict(keep_vars=True).items():
        if not is_adapter(name):
            continue
        if name.removesuffix(".weight").endswith(("lora_b", "lora_magnitude")):
            local_tensor(parameter).zero_()
            continue
        drawn = _uniform(parameter.shape, generator=_generator(seed, name))
        local_tensor(parameter).copy_(drawn[shard_slices(parameter)])


def _uniform(shape: torch.Size, *, generator: torch.Generator) -> torch.Tensor:
    bound = 1 / math.sqrt(shape[-1])  # kaiming_uniform_(a=sqrt(5)), over the input features
    return torch.empty(shape, dtype=torch.float32).uniform_(-bound, bound, generator=generator)


def _generator(seed: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
