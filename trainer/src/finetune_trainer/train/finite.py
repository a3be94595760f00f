"""Whether a step's loss and gradients are finite on every rank, asked before the optimizer moves a value."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
from torch import nn

from finetune_trainer.distributed.shards import local_tensor


@dataclass(frozen=True, kw_only=True)
class NonFinite:
    """What is NaN or infinite, and on which ranks' tokens it came up; none if that cannot be told."""

    what: Literal["loss", "gradients"]
    ranks: tuple[int, ...]


class FiniteCheck:
    """Gathers signs on the device while a step runs; `result` reads them, the same on all ranks.

    FSDP adds the ranks' gradients up, so those of the parameters do not tell whose tokens were at fault. The
    gradient of a rank's own embeddings does: what goes wrong in any layer goes down to it.
    """

    def __init__(self, model_parts: Sequence[nn.Module], device: torch.device) -> None:
        self._model_parts = model_parts
        self._bad_loss, self._bad_gradient = torch.zeros(2, dtype=torch.bool, device=device)
        embeddings = getattr(model_parts[0], "tok_embeddings", None)
        if isinstance(embeddings, nn.Module) and _is_trained(_first_layer(model_parts[0])):
            embeddings.register_forward_hook(self._watch)

    def note_loss(self, loss: torch.Tensor) -> None:
        """Of a micro-batch on this rank."""
        self._bad_loss.logical_or_(~loss.detach().isfinite().all())

    def result(self) -> NonFinite | None:
        """What is not finite in this step. Every rank has to ask, after its last backward pass."""
        ranks, rank = dist.get_world_size(), dist.get_rank()
        signs = torch.zeros(3, ranks, dtype=torch.int32, device=self._bad_loss.device)
        signs[:, rank] = torch.stack([self._bad_loss, self._bad_gradient, self._bad_parameters()])
        dist.all_reduce(signs, dist.ReduceOp.MAX)
        self._bad_loss.zero_()
        self._bad_gradient.zero_()
        losses, own, parameters = (tuple(_places(row)) for row in signs.tolist())
        if losses:
            return NonFinite(what="loss", ranks=losses)
        if own or parameters:
            return NonFinite(what="gradients", ranks=own)
        return None

    def _watch(self, _module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        if torch.is_grad_enabled() and not output.requires_grad:  # frozen, so this is where gradients end
            output.requires_grad_().register_hook(self._note_gradient)  # type: ignore[no-untyped-call]

    def _note_gradient(self, gradient: torch.Tensor) -> None:
        self._bad_gradient.logical_or_(~local_tensor(gradient).isfinite().all())

    def _bad_parameters(self) -> torch.Tensor:
        gradients = [
            local_tensor(parameter.grad)
            for part in self._model_parts
            for parameter in part.parameters()
            if parameter.grad is not None
        ]
        norm = torch.nn.utils.get_total_norm([part for part in gradients if part.numel()])
        return ~norm.to(self._bad_loss.device).isfinite()


def _first_layer(part: nn.Module) -> nn.Module:
    layer: nn.Module = next(iter(part.get_submodule("layers").children()))
    return layer


def _is_trained(module: nn.Module) -> bool:
    """Else a gradient of what goes into it would be computed for nothing else."""
    return any(parameter.requires_grad for parameter in module.parameters())


def _places(row: list[int]) -> list[int]:
    return [rank for rank, sign in enumerate(row) if sign]
