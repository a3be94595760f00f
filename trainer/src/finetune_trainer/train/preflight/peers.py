"""What the processes find when they have met."""

import logging
import socket
import time
from collections import Counter
from collections.abc import Sequence

import torch
import torch.distributed as dist

from finetune_trainer.contract.failure import CommunicationError, ConfigurationError, Reason, process_name
from finetune_trainer.distributed.agreement import gather_objects
from finetune_trainer.train.preflight.settings import Preflight
from finetune_trainer.train.preflight.transport import Transport, transport

logger = logging.getLogger(__name__)
ALL_REDUCE_BYTES = {"cuda": 256 * 2**20, "cpu": 2**20}
TRIES = 3
# NVLink and InfiniBand bring ten times as much; NCCL over TCP stays below.
SLOW_BYTES_A_SECOND = 5e9


def check_peers(settings: Preflight) -> None:
    """Raises ConfigurationError for another number of processes, CommunicationError if they cannot talk.

    What is only slow or unlike is logged on rank 0, with what to do.
    """
    check_world_size(dist.get_world_size(), settings)
    machines = gather_objects((socket.gethostname(), _device_name(settings.device)))
    bandwidth = all_reduce_bandwidth(settings.device)
    ways = gather_objects(transport())
    check_rdma(settings, [(host, way) for (host, _), way in zip(machines, ways, strict=True)])
    if dist.get_rank() == 0:
        for line in warnings([name for _, name in machines], bandwidth, settings.device):
            logger.warning("%s", line)
        devices = Counter(name for _, name in machines)
        logger.info(
            "preflight: %d processes on %d nodes, %s%s",
            len(machines),
            len({host for host, _ in machines}),
            ", ".join(f"{count} x {name}" for name, count in devices.items()),
            f", all-reduce {bandwidth / 1e9:.1f} GB/s" if bandwidth else "",
        )
        # On one node NCCL opens a network too, and needs none.
        between = [str(way) for way in ways if way] if len({host for host, _ in machines}) > 1 else []
        for way, count in Counter(between).items():
            logger.info("preflight: NCCL's network is %s (%d processes)", way, count)


def check_world_size(found: int, settings: Preflight) -> None:
    if found != settings.world_size:
        raise ConfigurationError(
            f"{found} processes have met, the run file has {settings.nodes} nodes x "
            f"{settings.processes_per_node} processes",
            Reason.MACHINE_UNFIT,
            remedy="Start one agent per node with the same run file, or correct workers in it",
        )


def check_rdma(settings: Preflight, ways: Sequence[tuple[str, Transport | None]]) -> None:
    """Where RDMA was asked for, NCCL must not have fallen back to TCP: it does so without a word.

    `ways` are host and transport of each rank, the same on every rank, so that all of them raise.
    """
    if not settings.rdma or settings.nodes == 1:
        return
    slow = {host: way for host, way in ways if way and way.is_tcp}
    if slow:
        host, way = next(iter(slow.items()))
        raise ConfigurationError(
            f"{process_name()}the pods have {settings.rdma}, and NCCL's network is {way}, on {host} "
            f"({len(slow)} of {settings.nodes} nodes)",
            Reason.MACHINE_UNFIT,
            remedy="Look into NCCL's log (NCCL_DEBUG=INFO in podOverrides.env) for why: the plugin, "
            "NCCL_IB_HCA, locked memory (workers.ipcLock); or ask for no device of RDMA",
        )
    if dist.get_rank() == 0 and not any(way for _, way in ways):
        logger.warning("the pods have %s, and NCCL's log names no network: is it used?", settings.rdma)


def warnings(devices: Sequence[str], bandwidth: float | None, device: str) -> list[str]:
    """What will train, but not well; bandwidth in bytes a second."""
    found = []
    if len(set(devices)) > 1:
        found.append(
            f"the processes have different GPUs ({', '.join(sorted(set(devices)))}) and wait for the "
            "slowest: choose one kind by workers.podOverrides.nodeSelector"
        )
    if device == "cuda" and bandwidth is not None and bandwidth < SLOW_BYTES_A_SECOND:
        found.append(
            f"an all-reduce brings {bandwidth / 1e9:.1f} GB/s only, as TCP does: check NVLink, workers."
            "rdmaResourceName, NCCL_SOCKET_IFNAME and NCCL_IB_HCA, with NCCL_DEBUG=INFO"
        )
    return found


def all_reduce_bandwidth(device: str) -> float | None:
    """Bytes a second of the best of a few all-reduces, as nccl-tests defines the bus bandwidth.

    https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md; None for a single process.
    """
    ranks = dist.get_world_size()
    if ranks == 1:
        return None
    tensor = torch.zeros(ALL_REDUCE_BYTES[device] // 4, device=device)
    try:
        seconds = min(_seconds_of_all_reduce(tensor) for _ in range(1 + TRIES))
    except RuntimeError as error:
        raise CommunicationError(
            f"{process_name()}the processes cannot add up a tensor: {str(error).splitlines()[0]}",
            remedy="Check the network between the nodes, NCCL_SOCKET_IFNAME and NCCL_IB_HCA, with "
            "NCCL_DEBUG=INFO",
        ) from error
    return tensor.nbytes * 2 * (ranks - 1) / ranks / seconds


def _seconds_of_all_reduce(tensor: torch.Tensor) -> float:
    start = time.perf_counter()
    dist.all_reduce(tensor)
    if tensor.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "CPU"
