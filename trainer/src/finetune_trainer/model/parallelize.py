"""torchtitan's parallelisation of DeepSeek-V3, with sums that every communication backend has."""

from typing import Any

from torch import nn
from torch.distributed.fsdp import FSDPModule
from torchtitan.models.deepseek_v3 import parallelize_deepseekv3
from torchtitan.tools import utils


def parallelize(model: nn.Module, **settings: Any) -> nn.Module:
    """Apply tensor, expert, context and data parallelism to a model on the meta device."""
    model = parallelize_deepseekv3(model, **settings)
    if utils.device_type == "cpu":
        _reduce_by_plain_sums(model)
    return model


def _reduce_by_plain_sums(model: nn.Module) -> None:
    """torchtitan sets FSDP's divide factor to 1, which FSDP asks for as PREMUL_SUM(1): gloo has only SUM."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_force_sum_reduction_for_comms(True)
