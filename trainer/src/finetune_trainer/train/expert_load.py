"""How unevenly the router spreads tokens over the experts: those of the fullest one are waited for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torchtitan.distributed import ParallelDims
from torchtitan.models.common.moe import MoE

from finetune_trainer.distributed.shards import local_tensor


@dataclass(frozen=True, kw_only=True)
class ExpertLoad:
    """Of the most uneven layer; 1 is even."""

    fullest: float
    """Tokens of the fullest expert over the layer's mean."""
    layer: int
    expert: int
    fullest_rank: float
    """The same of the ranks that share the experts, where that is most: memory and time go with it."""

    def __str__(self) -> str:
        return f"layer {self.layer}, expert {self.expert}"


def expert_load(model_parts: Sequence[nn.Module], dimensions: ParallelDims) -> ExpertLoad | None:
    """Of all tokens since this was last asked, in the layers of this rank's stage; None without experts.

    Every rank of the stage has to ask.
    """
    experts = [(layer, moe) for part in model_parts for layer, moe in _experts(part)]
    if not experts:
        return None
    counts = [local_tensor(moe.tokens_per_expert_E) for _, moe in experts]
    summed = torch.stack(counts)
    for count in counts:
        count.zero_()
    if (mesh := dimensions.get_optional_mesh("loss")) is not None:
        dist.all_reduce(summed, group=mesh.get_group())
    return most_uneven(summed.cpu(), [layer for layer, _ in experts], dimensions.ep)


@contextmanager
def uncounted(model_parts: Sequence[nn.Module]) -> Iterator[None]:
    """Leave the experts' counts of tokens as they were: they tell of training."""
    counts = [
        module.tokens_per_expert_E
        for part in model_parts
        for module in part.modules()
        if isinstance(module, MoE)
    ]
    before = [count.clone() for count in counts]
    try:
        yield
    finally:
        with torch.no_grad():
            for count, value in zip(counts, before, strict=True):
                count.copy_(value)


def most_uneven(counts: torch.Tensor, layers: Sequence[int], ranks: int) -> ExpertLoad:
    """counts: tokens (layers, experts). ranks: how many share the experts, each as many in a row."""
    means = counts.mean(dim=1, dtype=torch.float32).clamp(min=1e-9)
    loads = counts / means[:, None]
    row, expert = divmod(int(loads.argmax()), loads.shape[1])
    return ExpertLoad(
        fullest=float(loads[row, expert]),
        layer=layers[row],
        expert=expert,
        fullest_rank=float(loads.view(len(loads), ranks, -1).mean(dim=2).max()),
    )


def _experts(part: nn.Module) -> list[tuple[int, MoE]]:
    """With the number of the layer, by a name such as layers.3.moe."""
    found = [(name.split("."), module) for name, module in part.named_modules() if isinstance(module, MoE)]
    return [(int(path[path.index("layers") + 1]), module) for path, module in found]
