"""A frozen linear layer, in the base's data type or in FP8."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import spmd_types as spmd
import torch
import torch.nn.functional as F
from spmd_types.runtime import has_local_type
from torch import nn
from torch.distributed.tensor import DTensor
from torchtitan.distributed.parallel_dims import MeshAxisName, ParallelDims
from torchtitan.models.common.linear import Linear
from torchtitan.protocols.sharding import ShardingConfig, SpmdLayout

from finetune_trainer.base.float8 import BLOCK, SCALE_SUFFIX
from finetune_trainer.model.frozen import float8_products, weight_only
from finetune_trainer.model.frozen.settings import AS_PRECISION, FrozenSettings


class FrozenLinear(Linear):
    """`Linear` whose weight can be kept in FP8 beside its scales, at half the memory of bfloat16."""

    @dataclass(kw_only=True, slots=True)
    class Config(Linear.Config):
        param_init: dict[str, Callable[[nn.Parameter], Any]] | None = None
        frozen: FrozenSettings = AS_PRECISION

        def __post_init__(self) -> None:
            if self.frozen.in_float8:
                self.param_init = dict.fromkeys(("weight", "weight" + SCALE_SUFFIX), left_to_the_base)

    _sharding_config: ShardingConfig | None

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.frozen = config.frozen
        if self.frozen.in_float8:
            keep_in_float8(self, "weight")

    def parallelize(self, parallel_dims: Any) -> None:
        if self.frozen.in_float8 and self._sharding_config is not None:
            self._sharding_config = with_scales(self, self._sharding_config, parallel_dims, "weight")
        super().parallelize(parallel_dims)

    def frozen_weight(self) -> torch.Tensor:
        """[out, in], in the base's data type, or in float32 of what is kept in FP8."""
        if not self.frozen.in_float8:
            return self.weight
        return weight_only.dequantized(*float8_parts(self, "weight"), torch.float32)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 (the name in the sharding config)
        if not self.frozen.in_float8:
            return F.linear(input, self.weight)
        products = float8_products if self.frozen.computed_in_float8 else weight_only
        return products.linear(input, *float8_parts(self, "weight"))


def row_norms(layer: FrozenLinear) -> torch.Tensor:
    """float32 [out], of the whole weight wherever its parts are. Every rank that has a part calls this."""
    parts = [layer.weight, getattr(layer, "weight" + SCALE_SUFFIX, None)]
    weight, scales = (part.full_tensor() if isinstance(part, DTensor) else part for part in parts)
    if scales is not None:
        weight = weight_only.dequantized(
            weight.view(torch.float8_e4m3fn), scales.view(torch.float32), torch.float32
        )
    return torch.linalg.vector_norm(weight.float(), dim=1)


def left_to_the_base(parameter: nn.Parameter) -> None:
    """Initialize nothing: the base's values are all that `parameter` ever holds."""


def keep_in_float8(module: nn.Module, name: str) -> None:
    """Replace parameter `name` (.., out, in) by one in FP8 and one of its blocks' scales, both frozen."""
    weight = getattr(module, name)
    blocks = [*weight.shape[:-2], *(-(-size // BLOCK) for size in weight.shape[-2:])]
    for part, shape, dtype in (
        (name, weight.shape, torch.float8_e4m3fn),
        (name + SCALE_SUFFIX, blocks, torch.float32),
    ):
        empty = torch.empty(shape, dtype=dtype, device=weight.device)
        module.register_parameter(part, nn.Parameter(empty, requires_grad=False))


def float8_parts(module: nn.Module, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """This rank's part of parameter `name` in FP8 and of its scales, also where stored as integers."""
    weight, scales = (
        part.to_local() if isinstance(part, DTensor) else part
        for part in (getattr(module, name), getattr(module, name + SCALE_SUFFIX))
    )
    return weight.view(torch.float8_e4m3fn), scales.view(torch.float32)


def store_as_integers(model: nn.Module) -> None:
    """Store everything that is in FP8, and the scales, as integers of the same bits.

    FSDP would cast them to the precision of the arithmetic before it gathers them: twice the memory and
    traffic, and scales in bfloat16. Integers it leaves alone.
    """
    for module in model.modules():
        for name, _ in list(module.named_parameters(recurse=False)):
            if name.endswith(SCALE_SUFFIX):
                _store_as(module, name, torch.int32)
                _store_as(module, name.removesuffix(SCALE_SUFFIX), torch.uint8)


def with_scales(
    module: nn.Module, sharding: ShardingConfig, parallel_dims: ParallelDims, *names: str
) -> ShardingConfig:
    """`sharding` with the scales of `module`'s parameters `names` laid out as these are.

    A block that tensor parallelism cuts gets a scale for each part.
    """
    layouts = dict(sharding.state_shardings)
    for name in names:
        if name in layouts:
            layouts[name + SCALE_SUFFIX] = layouts[name]
            _cut_scales(module, name, layouts[name], parallel_dims.tp)
    return dataclasses.replace(sharding, state_shardings=layouts)


def _cut_scales(module: nn.Module, name: str, layout: SpmdLayout, tensor_parallel: int) -> None:
    """Make as many scales as let each rank's part of parameter `name` begin with one of its own."""
    shape = list(getattr(module, name).shape)
    kind = layout.axis_types.get(MeshAxisName.TP)
    if tensor_parallel == 1 or not isinstance(kind, spmd.Shard):
        return
    scales = getattr(module, name + SCALE_SUFFIX)
    counts = list(scales.shape)
    counts[kind.dim] = shape[kind.dim] // math.gcd(BLOCK, shape[kind.dim] // tensor_parallel)
    empty = torch.empty(counts, dtype=scales.dtype, device=scales.device)
    module.register_parameter(name + SCALE_SUFFIX, nn.Parameter(empty, requires_grad=False))


def _store_as(module: nn.Module, name: str, dtype: torch.dtype) -> None:
    parameter = getattr(module, name)
    stored = nn.Parameter(parameter.detach().view(dtype), requires_grad=False)
    if has_local_type(parameter):
        spmd.assert_type_like(stored, parameter)
    module.register_parameter(name, stored)
