"""A base's weights in float32, a tensor at a time: both models compute with the same memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from finetune_trainer.base.tensors import BaseTensors


@dataclass(frozen=True, kw_only=True)
class ExpertWeights:
    """Of some routed experts of a layer."""

    gate_up: torch.Tensor
    """[experts, 2 * hidden, dim]: each expert's gate, then its up projection."""
    down: torch.Tensor
    """[experts, dim, hidden]"""


def read_whole(tensors: BaseTensors, name: str) -> torch.Tensor:
    """float32 values of tensor `name`, FP8 dequantised. Raises DataError if it cannot be read."""
    return tensors.read(name, tuple(slice(0, size) for size in tensors.shape(name))).float()


def read_rows(tensors: BaseTensors, name: str, start: int, stop: int) -> torch.Tensor:
    """float32 [stop - start, columns]: rows of a matrix."""
    return tensors.read(name, (slice(start, stop), slice(0, tensors.shape(name)[1]))).float()


def read_experts(tensors: BaseTensors, layer: int, experts: Sequence[int]) -> ExpertWeights:
    """The weights of `experts` of `layer`, in that order."""

    def stacked(projection: str) -> list[torch.Tensor]:
        prefix = f"model.layers.{layer}.mlp.experts"
        return [read_whole(tensors, f"{prefix}.{expert}.{projection}.weight") for expert in experts]

    pairs = zip(stacked("gate_proj"), stacked("up_proj"), strict=True)
    return ExpertWeights(
        gate_up=torch.stack([torch.cat(pair) for pair in pairs]), down=torch.stack(stacked("down_proj"))
    )
