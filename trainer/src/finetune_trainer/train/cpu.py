"""Run torchtitan 0.3.0 on CPUs with gloo: the named adaptations, all applied by `use_cpu`.

Two more live where they need no patching: dense attention in place of flex attention, which has no CPU
backward (`model/attention.py`), and plain sums in FSDP, as gloo has no PREMUL_SUM (`model/parallelize.py`).
"""

import sys
import warnings
from datetime import timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist


class CpuDeviceModule(ModuleType):
    """`torch.cpu` with the memory functions that torchtitan's metrics ask of a device module.

    Can go when `torch.cpu` has them.
    """

    def __init__(self) -> None:
        super().__init__("finetune_trainer.train.cpu.device_module")

    def __getattr__(self, name: str) -> Any:
        return getattr(torch.cpu, name)

    def get_device_name(self, _device: object = None) -> str:
        return "cpu"

    def get_device_properties(self, _device: object = None) -> SimpleNamespace:
        return SimpleNamespace(total_memory=_host_memory_bytes())

    def memory_stats(self, _device: object = None) -> dict[str, int]:
        return {"num_alloc_retries": 0, "num_ooms": 0}

    def reset_peak_memory_stats(self, _device: object = None) -> None:
        return None

    def empty_cache(self) -> None:
        return None


def _host_memory_bytes() -> int:
    with open("/proc/meminfo") as meminfo:
        return int(next(line for line in meminfo if line.startswith("MemTotal")).split()[1]) * 1024


def set_pg_timeouts(timeout: timedelta, parallel_dims: Any) -> None:
    """As torchtitan's, but gloo's barrier takes no `device_ids`. Can go when torchtitan omits them on CPU."""
    dist.barrier()
    for mesh in parallel_dims.get_all_one_dimensional_meshes().values():
        dist.set_timeout(timeout, mesh.get_group())
    dist.set_timeout(timeout, None)


def use_cpu() -> None:
    """Make torchtitan use CPUs, whether or not its modules were imported before. Idempotent."""
    _select_device_type()
    import torchtitan.distributed.utils as dist_utils

    dist_utils.set_pg_timeouts = set_pg_timeouts
    # The router asks for float32 autocast, which on CPUs is a no-op that warns at every call.
    warnings.filterwarnings("ignore", message="In CPU autocast, but the target dtype is not supported")


def _select_device_type() -> None:
    """Set `device_type` and `device_module` everywhere torchtitan copied them at import.

    torchtitan picks "cuda" when no accelerator is there; can go when it has a setting for this.
    """
    import torchtitan.tools.utils as utils

    if utils.device_type == "cpu":
        return
    previous = utils.device_module
    device_module = CpuDeviceModule()
    for name, module in list(sys.modules.items()):
        if not name.startswith("torchtitan"):
            continue
        if "device_type" in vars(module):
            module.device_type = "cpu"  # type: ignore[attr-defined]
        if vars(module).get("device_module") is previous:
            module.device_module = device_module  # type: ignore[attr-defined]
