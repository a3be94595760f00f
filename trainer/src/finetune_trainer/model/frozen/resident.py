"""Frozen weights that FSDP leaves where they are: divided by tensor and expert parallelism, never gathered.

fully_shard copies what it gathers, also from one rank: twice a step, all experts of a layer. Where it has
nothing to divide, nothing is lost by keeping a frozen weight from it; and where there is memory for it, the
whole base can be (training.parallelism.frozenWeights: resident). torchtitan passes no `ignored_params` on to
fully_shard, which ignores what is not there just as well.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement
from torchtitan.distributed import ParallelDims
from torchtitan.distributed.parallel_dims import MeshAxisName, SpmdLayout, unfold_dp_axes
from torchtitan.protocols.module import Module
from torchtitan.protocols.sharding import resolve_placements


@dataclass(frozen=True, kw_only=True)
class SetAside:
    """A parameter that is taken out of its module while FSDP is applied."""

    module: nn.Module
    name: str
    parameter: nn.Parameter

    def put_back(self) -> None:
        self.module.register_parameter(self.name, self.parameter)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which part of a whole weight every rank has."""

    mesh: DeviceMesh
    placements: Sequence[Placement]

    def whole(self, part: torch.Tensor) -> DTensor:
        return DTensor.from_local(part, self.mesh, self.placements, run_check=False)


def set_aside(model: nn.Module, dims: ParallelDims, *, all_frozen: bool) -> list[SetAside]:
    """Take the frozen weights of `model`, already divided by tensor and expert parallelism, out of FSDP's
    sight: all of them, or those that it would divide over one rank.

    In a state_dict they are DTensors from here on, as FSDP's parameters are: who reads a base by it
    (model/base_loader.py) would take a plain tensor for a whole weight, and load the first experts on all.
    """
    aside: list[SetAside] = []
    for module in model.modules():
        layouts: dict[str, Layout] = {}
        for name, parameter, layout in _frozen_parameters(module):
            if not all_frozen and _fsdp_ranks(layout, dims) > 1:
                continue
            aside.append(SetAside(module=module, name=name, parameter=parameter))
            mesh = dims.get_activated_mesh(unfold_dp_axes(layout.axes()))
            if mesh is not None:
                layouts[name] = Layout(mesh=mesh, placements=resolve_placements(layout, mesh))
        if layouts:
            module.register_state_dict_post_hook(_Whole(layouts))  # type: ignore[no-untyped-call]
    for each in aside:
        delattr(each.module, each.name)
    return aside


def _frozen_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter, SpmdLayout]]:
    sharding = module._sharding_config if isinstance(module, Module) else None
    if sharding is None:
        return
    for name, parameter in module.named_parameters(recurse=False):
        if not parameter.requires_grad:
            yield name, parameter, sharding.state_shardings[name]


def _fsdp_ranks(layout: SpmdLayout, dims: ParallelDims) -> int:
    """Over how many ranks FSDP divides a parameter: the routed experts over those that share none."""
    ranks = dims.dp_shard * dims.cp
    return ranks * dims.tp // dims.ep if dims.ep_enabled and MeshAxisName.EP in layout.axes() else ranks


class _Whole:
    """A hook of a module's state_dict, in which it makes this rank's parts DTensors."""

    def __init__(self, layouts: dict[str, Layout]) -> None:
        self._layouts = layouts

    def __call__(self, _module: nn.Module, state: dict[str, Any], prefix: str, _metadata: Any) -> None:
        for name, layout in self._layouts.items():
            state[prefix + name] = layout.whole(state[prefix + name])
