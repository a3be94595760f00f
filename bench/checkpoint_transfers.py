"""How a layer's parts of experts' adapters get to the rank that writes them.

`python bench/checkpoint_transfers.py`, on four processes over gloo: as tensors, sent to the writer alone, as
checkpoint/transfers.py does; and as pickles of which every rank gets all. `--device cuda`: a process a GPU,
over NCCL, copies to the host included; NCCL_MULTI_RANK_GPU_ENABLE=1 lets processes share one.
"""

import argparse
import multiprocessing
import os
import resource
import socket
import time
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard

from finetune_trainer.checkpoint.tensors import TrainedParameter, held_parts
from finetune_trainer.checkpoint.transfers import ROUND_BYTES, Exchange, Held, planned_transfers
from finetune_trainer.distributed.agreement import gather_objects, new_host_group
from report import write_report

LAYER_BYTES = 2**26
LAYERS = {"cpu": 8, "cuda": 32}
BACKENDS = {"cpu": "gloo", "cuda": "nccl"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--ranks", type=int, default=4)
    arguments = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")  # CUDA may be in use here already
    told: Any = context.Queue()
    for rank in range(arguments.ranks):
        context.Process(target=_measure, args=(rank, port, arguments, told), daemon=True).start()
    figures = {
        **vars(arguments),
        "gpus": torch.cuda.device_count(),
        "layers": LAYERS[arguments.device],
        "layerMB": round(LAYER_BYTES / 1e6),
        **told.get(timeout=600),
    }
    name = "checkpoint-transfers" + ("-gpus" if arguments.device == "cuda" else "")
    write_report(name, figures, packages=("torch",))


def _measure(rank: int, port: int, arguments: argparse.Namespace, told: Any) -> None:
    world = {
        "RANK": str(rank),
        "WORLD_SIZE": str(arguments.ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    os.environ |= world
    if arguments.device == "cuda":
        torch.cuda.set_device(rank % torch.cuda.device_count())
    dist.init_process_group(BACKENDS[arguments.device])
    mesh, group = init_device_mesh(arguments.device, (arguments.ranks,)), new_host_group()
    rows = LAYER_BYTES // 4 // 1024 // arguments.ranks

    def parameter() -> TrainedParameter:
        part = torch.rand(rows, 1024, device=arguments.device)
        return TrainedParameter("w", DTensor.from_local(part, mesh, [Shard(0)]), {})

    held = {
        f"layer-{layer}.safetensors": held_parts([parameter()]) for layer in range(LAYERS[arguments.device])
    }
    transfers = planned_transfers(gather_objects({file: list(own) for file, own in held.items()}, group))
    exchange = Exchange(transfers, torch.device(arguments.device))
    figures: dict[str, Any] = {}
    if arguments.device == "cuda":
        figures = {"first": _timed(lambda: exchange.whole_tensors(held), held)}  # makes its connections
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    figures["tensors"] = _timed(lambda: exchange.whole_tensors(held), held)
    if arguments.device == "cuda":
        figures["takenOfGpuMB"] = round((torch.cuda.max_memory_allocated() - before) / 1e6)
        figures["roundMB"] = round(ROUND_BYTES / 1e6)
        figures["copiesAlone"] = _timed(lambda: _copied(held), held)
    figures["pickles"] = _timed(lambda: _as_pickles(held, group), held)
    if rank == 0:
        told.put(figures)
    dist.barrier()


def _timed(send: Any, held: Held) -> dict[str, float]:
    dist.barrier()
    before, start = _peak(), time.perf_counter()
    send()
    dist.barrier()
    seconds = time.perf_counter() - start
    return {
        "seconds": round(seconds, 3),
        "megabytesPerSecond": round(len(held) * LAYER_BYTES / 1e6 / seconds),
        "takenMB": round((_peak() - before) / 1e6),
    }


def _copied(held: Held) -> list[torch.Tensor]:
    """What a snapshot takes in any case: this rank's own parts, on the host."""
    return [values.cpu() for own in held.values() for values in own.values()]


def _as_pickles(held: Held, group: dist.ProcessGroup) -> None:
    for own in held.values():
        gather_objects([values.cpu() for values in own.values()], group)


def _peak() -> int:
    """Bytes that this process has had at most; what is taken later within them does not show."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
