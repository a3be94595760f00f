"""How unevenly the router spreads tokens over the experts: those of the fullest one are waited for."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import nn
from torchtitan.distributed import ParallelDims
from torchtitan.models.common.moe import MoE

from finetune_trainer.distributed.agreement import greatest
from finetune_trainer.distributed.shards import local_tensor


def expert_load(model_parts: Sequence[nn.Module], dimensions: ParallelDims) -> float | None:
    """The fullest expert's tokens over its layer's mean, in the most uneven layer; None without experts.

    Of all tokens since this was last asked. Every rank has to ask.
    """
    counts = [local_tensor(moe.tokens_per_expert_E) for moe in _experts(model_parts)]
    own = 0.0
    if counts:  # a pipeline's stage may have none
        summed = torch.stack(counts)
        for count in counts:
            count.zero_()
        if (mesh := dimensions.get_optional_mesh("loss")) is not None:
            dist.all_reduce(summed, group=mesh.get_group())
        own = most_loaded(summed)
    return greatest(own) or None


def most_loaded(counts: torch.Tensor) -> float:
    """Tokens of the fullest expert over the mean, of the most uneven layer; counts (layers, experts)."""
    return float((counts.amax(dim=1) / counts.mean(dim=1).clamp(min=1e-9)).max())


def _experts(model_parts: Sequence[nn.Module]) -> list[MoE]:
    return [module for part in model_parts for module in part.modules() if isinstance(module, MoE)]
