"""Frozen routed experts with an adapter per expert, as grouped matrix products."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate
from torchtitan.distributed.spmd_types import maybe_set_sparse_mesh
from torchtitan.models.common.moe import GroupedExperts, RoutedExperts
from torchtitan.protocols.sharding import ShardingConfig

from finetune_trainer.base.float8 import SCALE_SUFFIX
from finetune_trainer.model.frozen import float8_products, weight_only
from finetune_trainer.model.frozen.linear import (
    float8_parts,
    keep_in_float8,
    left_to_the_base,
    with_scales,
)
from finetune_trainer.model.frozen.settings import AS_PRECISION, FrozenSettings
from finetune_trainer.model.lora.dropout import hashed_dropout
from finetune_trainer.model.lora.layout import adapter_layouts
from finetune_trainer.model.lora.settings import LoRASettings

# Shape suffixes, as torchtitan's: E = experts, R = routed tokens of a rank's experts, D = model dimension, F
# = hidden dimension, r = rank of an adapter; I and O = what a product takes and gives, D or F.

EXPERT_WEIGHTS = {"w1": "w1_EFD", "w2": "w2_EDF", "w3": "w3_EFD"}


class LoRAGroupedExperts(GroupedExperts):
    """`GroupedExperts` whose weights named in `targets` have adapters A [E, r, I] and B [E, O, r].

    Without targets these are the plain frozen experts, computed in the input's dtype: torchtitan casts to
    bfloat16 whatever the precision asked for. In FP8 they are dequantised for each use, or multiplied so.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(GroupedExperts.Config):
        param_init: dict[str, Callable[[nn.Parameter], Any]] | None = None
        lora: LoRASettings
        targets: tuple[str, ...] = ()
        frozen: FrozenSettings = AS_PRECISION

        def __post_init__(self) -> None:
            """Adapters begin at zero; `initialize_adapters` then draws A, the same at any sharding."""
            adapters = [f"{target}_lora_{part}" for target in self.targets for part in "ab"]
            base = self.param_init
            if self.frozen.in_float8:
                kept = (name + part for name in EXPERT_WEIGHTS.values() for part in ("", SCALE_SUFFIX))
                base = dict.fromkeys(kept, left_to_the_base)
            if base is not None:
                self.param_init = base | dict.fromkeys(adapters, nn.init.zeros_)

    _sharding_config: ShardingConfig | None

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.lora = config.lora
        self.targets = config.targets
        self.adapter_is_on = True
        self.frozen = config.frozen
        for target in config.targets:
            experts, out_features, in_features = getattr(self, EXPERT_WEIGHTS[target]).shape
            rank = config.lora.rank
            self.register_parameter(f"{target}_lora_a", nn.Parameter(torch.empty(experts, rank, in_features)))
            self.register_parameter(
                f"{target}_lora_b", nn.Parameter(torch.empty(experts, out_features, rank))
            )
        if self.frozen.in_float8:
            for name in EXPERT_WEIGHTS.values():
                keep_in_float8(self, name)

    def parallelize(self, parallel_dims: Any) -> None:
        """Shard, the adapters by the layouts of their base weights."""
        if self._sharding_config is not None:
            layouts = dict(self._sharding_config.state_shardings)
            for target in self.targets:
                base = layouts[EXPERT_WEIGHTS[target]]
                layouts[f"{target}_lora_a"], layouts[f"{target}_lora_b"] = adapter_layouts(
                    base, out_dim=1, in_dim=2
                )
            self._sharding_config = dataclasses.replace(self._sharding_config, state_shardings=layouts)
            if self.frozen.in_float8:
                self._sharding_config = with_scales(
                    self, self._sharding_config, parallel_dims, *EXPERT_WEIGHTS.values()
                )
        super().parallelize(parallel_dims)

    def forward(
        self,
        x_RD: torch.Tensor,
        num_tokens_per_expert_E: torch.Tensor,
        scores_R: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Feed tokens, sorted by expert, through their experts, to [R, D]; times `scores_R`, if given."""
        ends_E = torch.cumsum(num_tokens_per_expert_E, dim=0, dtype=torch.int32)
        hidden_RF = F.silu(self._project("w1", x_RD, ends_E)) * self._project("w3", x_RD, ends_E)
        if scores_R is not None:
            hidden_RF = (hidden_RF.float() * scores_R.unsqueeze(1)).to(hidden_RF.dtype)
        return self._project("w2", hidden_RF, ends_E)

    def _project(self, weight: str, x_RI: torch.Tensor, ends_E: torch.Tensor) -> torch.Tensor:
        output_RO = self._frozen_linear(x_RI, EXPERT_WEIGHTS[weight], ends_E)
        if weight not in self.targets or not self.adapter_is_on:
            return output_RO
        dropped_RI = hashed_dropout(x_RI, self.lora.dropout) if self.lora.dropout and self.training else x_RI
        low_Rr = _grouped_linear(dropped_RI, getattr(self, f"{weight}_lora_a"), ends_E) * self.lora.scaling
        return output_RO + _grouped_linear(low_Rr, getattr(self, f"{weight}_lora_b"), ends_E)

    def _frozen_linear(self, x_RI: torch.Tensor, name: str, ends_E: torch.Tensor) -> torch.Tensor:
        if not self.frozen.in_float8:
            return _grouped_linear(x_RI, getattr(self, name), ends_E)
        products = float8_products if self.frozen.computed_in_float8 else weight_only
        return products.grouped_linear(x_RI, *float8_parts(self, name), ends_E)


class ScoredExperts(RoutedExperts):
    """Routed experts that weigh what they compute before their last product, which is linear.

    So its output is not needed for the scores' gradient: it need not be kept nor, where compiled layers are
    computed again, made and sent back a second time.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(RoutedExperts.Config):
        pass

    def forward(
        self,
        x_BLD: torch.Tensor,
        topk_scores_BLK: torch.Tensor,
        topk_expert_ids_BLK: torch.Tensor,
        num_local_tokens_per_expert_E: torch.Tensor,
    ) -> torch.Tensor:
        """As torchtitan's, to [B, L, D]; `local_map` (its sharding config) is around it."""
        x_TD, scores_TK, ids_TK = (
            part.flatten(0, 1) for part in (x_BLD, topk_scores_BLK, topk_expert_ids_BLK)
        )
        dispatcher = self.token_dispatcher
        rows_RD, counts_e, metadata = dispatcher.dispatch(
            x_TD, scores_TK, ids_TK, num_local_tokens_per_expert_E
        )
        scores_R = dispatcher.scores_of_rows(scores_TK, metadata)
        with maybe_set_sparse_mesh():
            outputs_RD = self.inner_experts(rows_RD, counts_e, scores_R)
        unscored = dataclasses.replace(metadata, topk_scores_experts_sorted_N=None)
        out_TD = dispatcher.combine(outputs_RD, unscored, x_TD)
        return out_TD.view(len(x_BLD), -1, x_TD.shape[-1])


def _grouped_linear(x_RI: torch.Tensor, weight_EOI: torch.Tensor, ends_E: torch.Tensor) -> torch.Tensor:
    return F.grouped_mm(x_RI, _local(weight_EOI).to(x_RI.dtype).transpose(-2, -1), offs=ends_E)


def _local(weight: torch.Tensor) -> torch.Tensor:
    """This rank's part of a weight. The gradient of a replicated one is a sum over the ranks."""
    if not isinstance(weight, DTensor):
        return weight
    gradient: list[Placement] = [
        Partial() if isinstance(placement, Replicate) else placement for placement in weight.placements
    ]
    return weight.to_local(grad_placements=gradient)
