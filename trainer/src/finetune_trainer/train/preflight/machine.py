"""What this process can see of its own machine, before it meets the others."""

import re
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
DRIVER = Path("/proc/driver/nvidia/version")
RDMA_DEVICES = Path("/dev/infiniband")
HOPPER = 9


def check_machine(settings: Preflight, token_folders: Sequence[Path]) -> None:
    """Raises ConfigurationError or DataError, each with one line and a remedy."""
    if settings.device == "cuda":
        check_driver()
        check_gpus(torch.cuda.device_count(), settings.processes_per_node)
        if settings.rdma:
            check_rdma_devices(settings.rdma, RDMA_DEVICES)
        if settings.float8_products:
            check_float8_products(torch.cuda.get_device_name(), torch.cuda.get_device_capability())
        if settings.processes_per_node > 1:
            check_shared_memory(SHARED_MEMORY, settings.processes_per_node)
    for folder in token_folders:
        TokenStore.load(folder)


def check_driver() -> None:
    """The node's driver runs the CUDA of this torch, which else counts no GPU and says nothing."""
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        raise ConfigurationError(
            f"{process_name()}CUDA {torch.version.cuda} does not start with the node's driver "
            f"({driver_version(DRIVER)}): {str(error).splitlines()[0]}",
            Reason.MACHINE_UNFIT,
            remedy="Upgrade the driver of the nodes, or ask for their GPUs (workers.gpusPerNode)",
        ) from error


def driver_version(file: Path) -> str:
    """As the kernel's module has it; it says so in words around it."""
    if not file.is_file():
        return "none is loaded"
    found = re.search(r"\b(\d{3}\.\d+(\.\d+)?)\b", file.read_text(encoding="utf-8", errors="replace"))
    return found[1] if found else "of no known version"


def check_rdma_devices(asked: str, folder: Path) -> None:
    """What a device plugin gives a pod for RDMA: one verbs device for each card, an EFA's too."""
    if not any(folder.glob("uverbs*")):
        raise ConfigurationError(
            f"{process_name()}the pod has {asked}, and no {folder}/uverbs*",
            Reason.MACHINE_UNFIT,
            remedy="Look at the device plugin of the nodes, or ask for no device of RDMA",
        )


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
