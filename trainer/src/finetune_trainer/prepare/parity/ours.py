"""The model that is trained, a layer at a time, each of its own modules with the base's weights."""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import nn
from torchtitan.models.common.moe import RoutedExperts

from finetune_trainer.base.tensors import BaseTensors
from finetune_trainer.model.frozen_base import FrozenBaseModel
from finetune_trainer.model.lora.names import is_adapter
from finetune_trainer.model.names import CheckpointNames
from finetune_trainer.prepare.parity.weights import ExpertWeights, read_experts, read_whole

ReadExperts = Callable[[Sequence[int]], ExpertWeights]


class OurModel:
    """A flavour with adapters that change nothing yet."""

    def __init__(self, config: FrozenBaseModel.Config, tensors: BaseTensors) -> None:
        self._config, self._tensors = config, tensors
        self._names = CheckpointNames.of(config)

    @property
    def layers(self) -> int:
        return len(self._config.layers)

    def layer(self, index: int) -> nn.Module:
        """Decoder layer `index`; routed experts are read when a token takes them."""
        config = copy.deepcopy(self._config.layers[index])
        experts = config.moe.routed_experts if config.moe is not None else None
        if experts is not None:
            config.moe.routed_experts = _of_experts(experts, 1)
        with torch.device("meta"):
            layer: Any = config.build()
        if experts is not None:
            layer.moe.routed_experts = nn.Identity()
        self._fill(layer, f"layers.{index}.")
        layer.attention.rope.init_states(buffer_device=torch.device("cpu"))
        if experts is not None:
            layer.moe.routed_experts = _ExpertsOfTokens(
                experts, lambda taken: read_experts(self._tensors, index, taken)
            )
        return cast(nn.Module, layer.eval())

    def norm(self) -> nn.Module:
        """The norm before the head."""
        with torch.device("meta"):
            norm: nn.Module = self._config.norm.build()
        self._fill(norm, "norm.")
        return norm

    def _fill(self, module: nn.Module, prefix: str) -> None:
        values = {}
        for name, tensor in module.state_dict().items():
            if is_adapter(name):
                values[name] = torch.zeros(tensor.shape)
            else:
                (hf_name,) = self._names.tensors(prefix + name, num_experts=1)
                values[name] = read_whole(self._tensors, hf_name)
        module.load_state_dict(values, assign=True)


class _ExpertsOfTokens(nn.Module):
    """torchtitan's routed experts, one token at a time and with that token's experts alone."""

    def __init__(self, config: RoutedExperts.Config, read: ReadExperts) -> None:
        super().__init__()
        self._config, self._read = config, read

    def forward(
        self, states: torch.Tensor, scores: torch.Tensor, taken: torch.Tensor, _: torch.Tensor
    ) -> torch.Tensor:
        """states [1, length, dim], scores and taken [1, length, top-k] -> like states."""
        outputs = [
            self._token(states[:, [token]], scores[:, [token]], taken[0, token].tolist())
            for token in range(states.shape[1])
        ]
        return torch.cat(outputs, dim=1)

    def _token(self, states: torch.Tensor, scores: torch.Tensor, taken: Sequence[int]) -> torch.Tensor:
        with torch.device("meta"):
            experts = _of_experts(self._config, len(taken)).build()
        _fill_experts(experts.inner_experts, self._read(taken))
        numbers = torch.arange(len(taken))[None, None]
        outputs: torch.Tensor = experts(states, scores, numbers, torch.ones(len(taken), dtype=torch.long))
        return outputs


def _fill_experts(module: nn.Module, weights: ExpertWeights) -> None:
    gate, up = weights.gate_up.chunk(2, dim=1)
    values = {"w1_EFD": gate, "w3_EFD": up, "w2_EDF": weights.down}
    adapters = {name: torch.zeros(it.shape) for name, it in module.state_dict().items() if is_adapter(name)}
    module.load_state_dict(values | adapters, assign=True)


def _of_experts(config: RoutedExperts.Config, count: int) -> RoutedExperts.Config:
    return dataclasses.replace(
        config,
        inner_experts=dataclasses.replace(config.inner_experts, num_experts=count),
        token_dispatcher=dataclasses.replace(config.token_dispatcher, num_experts=count),
    )
