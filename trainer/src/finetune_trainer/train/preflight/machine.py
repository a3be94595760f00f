"""What this process can see of its own machine, before it meets the others."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from finetune_trainer.contract.failure import ConfigurationError, Reason, process_name
from finetune_trainer.data.store import TokenStore
from finetune_trainer.train.preflight.settings import Preflight

SHARED_MEMORY = Path("/dev/shm")
# What NCCL takes there for each process of a node, with some room; docker's default is 64 MiB in all.
SHARED_BYTES_A_PROCESS = 32 * 2**20
MIB = 2**20
HOPPER = 9


def check_machine(settings: Preflight, token_folders: Sequence[Path]) -> None:
    """Raises ConfigurationError or DataError, each with one line and a remedy."""
    if settings.device == "cuda":
        check_gpus(torch.cuda.device_count(), settings.processes_per_node)
        if settings.float8_products:
            check_float8_products(torch.cuda.get_device_name(), torch.cuda.get_device_capability())
        if settings.processes_per_node > 1:
            check_shared_memory(SHARED_MEMORY, settings.processes_per_node)
    for folder in token_folders:
        TokenStore.load(folder)


def check_gpus(found: int, processes: int) -> None:
    """A GPU for each process of the node."""
    if found < processes:
        raise ConfigurationError(
            f"{process_name()}{processes} processes on a node with {found} GPUs",
            Reason.MACHINE_UNFIT,
            remedy="Set workers.processesPerNode to at most the GPUs of a pod (workers.gpusPerNode)",
        )


def check_float8_products(name: str, capability: tuple[int, int]) -> None:
    """A GPU for which cuBLAS has products of blocks with scales."""
    if capability[0] != HOPPER:
        raise ConfigurationError(
            f"{process_name()}training.frozenArithmetic: {name} is no GPU that multiplies in FP8 by blocks",
            Reason.MACHINE_UNFIT,
            remedy="Use H100 or H200, or set training.frozenArithmetic to precision",
        )


def check_shared_memory(folder: Path, processes: int) -> None:
    """Enough of it: a process that finds none dies of SIGBUS, without a word."""
    free, needed = shutil.disk_usage(folder).free, SHARED_BYTES_A_PROCESS * processes
    if free < needed:
        raise ConfigurationError(
            f"{process_name()}{folder} has {free // MIB} MiB free, {processes} processes need "
            f"{needed // MIB} MiB",
            Reason.MACHINE_UNFIT,
            remedy=f"Mount an emptyDir with medium Memory at {folder}, or give docker --shm-size=8g",
        )
