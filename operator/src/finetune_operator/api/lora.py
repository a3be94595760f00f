"""The low-rank adapter: its size and the modules it goes on."""

from typing import Annotated, ClassVar

from pydantic import Field

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import ModuleName, Unique
from finetune_operator.api.rules import Rule


class LoraSpec(ApiModel):
    """LoRA (Hu et al. 2021): W + (alpha / rank) * B @ A, with W frozen."""

    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    """Rank of the adapter's matrices, 1 to 1024. Default: 16."""

    alpha: Annotated[float, Field(gt=0, le=65536)] = 32.0
    """Scale of the adapter: its delta is multiplied by alpha / rank. Default: 32."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability of dropping an adapter's input while training, 0 to below 1. Default: 0."""

    targets: Annotated[list[ModuleName], *Unique, Field(min_length=1, max_length=64)] = ["attention"]
    """What gets an adapter: attention (the MLA projections), mlp (dense and shared experts), experts (routed
    experts), or module names such as o_proj. Default: [attention]."""

    use_rslora: bool = False
    """Scale by alpha / sqrt(rank) instead (Kalajdzievski 2023), for high ranks. Default: false."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!self.targets.exists(t, t in ['gate', 'router', 'router.gate', 'mlp.gate'])",
            problem="the router is never trained",
            remedy="name other modules, or attention, mlp, experts",
            field="targets",
        ),
    )
