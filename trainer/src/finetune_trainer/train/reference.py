"""The reference of preference tuning: the model as it was before training, so that there is no second one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule

from finetune_trainer.distributed.shards import local_tensor
from finetune_trainer.model.lora.names import is_adapter
from finetune_trainer.model.lora.switch import adapters_off
from finetune_trainer.train.expert_load import uncounted
from finetune_trainer.train.preference_loss import PreferenceLoss


class Reference:
    """The frozen base, or the base with the adapter that training starts from, as TRL has it too."""

    def __init__(self, loss: PreferenceLoss) -> None:
        self._loss = loss
        self._start: list[torch.Tensor] | None = None

    def keep_adapters(self, model_parts: Sequence[nn.Module]) -> None:
        """Let the reference be the base with the adapters that it has now."""
        self._start = [adapter.clone() for adapter in _adapters(model_parts)]

    @torch.no_grad()
    def log_probabilities(
        self,
        model_parts: Sequence[nn.Module],
        inputs: torch.Tensor,
        targets: torch.Tensor,
        model_inputs: Mapping[str, Any],
    ) -> torch.Tensor:
        """As `PreferenceLoss.log_probabilities`. Every rank calls this."""
        with uncounted(model_parts), self._as_before(model_parts):
            states = model_parts[0](inputs, **model_inputs)
            return self._loss.log_probabilities(states, targets, model_inputs["positions"])

    @contextmanager
    def _as_before(self, model_parts: Sequence[nn.Module]) -> Iterator[None]:
        if self._start is None:
            with adapters_off(model_parts):
                yield
            return
        trained = [adapter.clone() for adapter in _adapters(model_parts)]
        _set_adapters(model_parts, self._start)
        try:
            yield
        finally:
            _set_adapters(model_parts, trained)


def _adapters(model_parts: Sequence[nn.Module]) -> list[torch.Tensor]:
    """This rank's parts of them."""
    return [
        local_tensor(parameter)
        for part in model_parts
        for name, parameter in part.named_parameters()
        if is_adapter(name)
    ]


def _set_adapters(model_parts: Sequence[nn.Module], values: Sequence[torch.Tensor]) -> None:
    """Whatever FSDP has gathered of others is let go."""
    for module in (module for part in model_parts for module in part.modules()):
        if isinstance(module, FSDPModule):
            module.reshard()
    for adapter, value in zip(_adapters(model_parts), values, strict=True):
        adapter.copy_(value)
