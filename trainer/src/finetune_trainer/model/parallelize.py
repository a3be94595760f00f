"""torchtitan's parallelisation of DeepSeek-V3, without FSDP where it has nothing to divide."""

from typing import Any

from torch import nn
from torch.distributed.fsdp import FSDPModule
from torchtitan.config import CompileConfig
from torchtitan.distributed import ParallelDims
from torchtitan.distributed.activation_checkpoint import ActivationCheckpointing
from torchtitan.distributed.compile import apply_compile
from torchtitan.models.deepseek_v3 import parallelize_deepseekv3
from torchtitan.tools import utils

from finetune_trainer.contract.failure import ConfigurationError, Reason
from finetune_trainer.model.frozen_base import FrozenBaseModel


def parallelize(model: FrozenBaseModel, *, parallel_dims: ParallelDims, **settings: Any) -> nn.Module:
    """Apply tensor, expert, context and data parallelism to a model, or a stage of one, on the meta device.

    Raises ConfigurationError for a stage that has no adapters: it would have no gradients to send back.
    """
    _check_adapters(model)
    if parallel_dims.world_size == parallel_dims.pp:
        return _on_one_process(model, parallel_dims=parallel_dims, **settings)
    model = parallelize_deepseekv3(model, parallel_dims=parallel_dims, **settings)
    model.put_back()
    if utils.device_type == "cpu":
        _reduce_by_plain_sums(model)
    return model


def _check_adapters(model: nn.Module) -> None:
    if any(parameter.requires_grad for parameter in model.parameters()):
        return
    layers = sorted({int(name.split(".")[1]) for name, _ in model.named_parameters() if "layers." in name})
    raise ConfigurationError(
        f"training.parallelism.pipeline: lora.targets names nothing in the stage of layers {layers}",
        Reason.PARALLELISM_INVALID,
        remedy="Use fewer stages, or more targets",
    )


def _on_one_process(
    model: Any,
    *,
    parallel_dims: ParallelDims,
    compile_config: CompileConfig,
    ac_config: ActivationCheckpointing.Config | None,
    dump_folder: str,
    **_: Any,
) -> nn.Module:
    """As torchtitan does it, less FSDP, which even on one process copies each layer before it is used:
    22 GB for the experts of a layer of 671B's widths."""
    model.parallelize(parallel_dims)
    if ac_config is not None:
        ac_config.build(dump_folder=dump_folder).apply(model)
    if compile_config.enable and "model" in compile_config.components:
        apply_compile(model, compile_config=compile_config, parallel_dims=parallel_dims)
    parallelized: nn.Module = model
    return parallelized


def _reduce_by_plain_sums(model: nn.Module) -> None:
    """torchtitan sets FSDP's divide factor to 1, which FSDP asks for as PREMUL_SUM(1): gloo has only SUM."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_force_sum_reduction_for_comms(True)
