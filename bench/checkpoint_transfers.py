"""How a layer's parts of experts' adapters get to the rank that writes them, on four processes over gloo.

`python bench/checkpoint_transfers.py`: as tensors, sent to the writer alone, as checkpoint/transfers.py does;
and as pickles of which every rank gets all.
"""

import multiprocessing
import os
import resource
import socket
import time
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # ranks are forks

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard

from finetune_trainer.checkpoint.tensors import ShardCopy, TrainedParameter, copy_shards
from finetune_trainer.checkpoint.transfers import Exchange, planned_transfers
from finetune_trainer.distributed.agreement import gather_objects, new_host_group
from report import write_report

RANKS, LAYERS, LAYER_BYTES = 4, 8, 2**26


def main() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("fork")
    told: Any = context.Queue()
    for rank in range(RANKS):
        context.Process(target=_measure, args=(rank, port, told), daemon=True).start()
    figures = {"ranks": RANKS, "layers": LAYERS, "layerMB": round(LAYER_BYTES / 1e6), **told.get(timeout=600)}
    write_report("checkpoint-transfers", figures, packages=("torch",))


def _measure(rank: int, port: int, told: Any) -> None:
    world = {
        "RANK": str(rank),
        "WORLD_SIZE": str(RANKS),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    os.environ |= world
    dist.init_process_group("gloo")
    mesh, group = init_device_mesh("cpu", (RANKS,)), new_host_group()
    rows = LAYER_BYTES // 4 // 1024 // RANKS
    layers = {
        f"layer-{layer}.safetensors": copy_shards(
            [TrainedParameter("w", DTensor.from_local(torch.rand(rows, 1024), mesh, [Shard(0)]), {})]
        )
        for layer in range(LAYERS)
    }
    figures = {
        "tensors": _timed(lambda: _as_tensors(layers, group)),
        "pickles": _timed(lambda: _as_pickles(layers, group)),
    }
    if rank == 0:
        told.put(figures)
    dist.barrier()


def _timed(send: Any) -> dict[str, float]:
    dist.barrier()
    before, start = _peak(), time.perf_counter()
    send()
    dist.barrier()
    seconds = time.perf_counter() - start
    return {
        "seconds": round(seconds, 2),
        "megabytesPerSecond": round(LAYERS * LAYER_BYTES / 1e6 / seconds),
        "takenMB": round((_peak() - before) / 1e6),
    }


def _as_tensors(layers: dict[str, list[ShardCopy]], group: dist.ProcessGroup) -> None:
    held = gather_objects({file: [copy.part for copy in own] for file, own in layers.items()}, group)
    exchange = Exchange(planned_transfers(held), layers, group)
    for file in exchange.files():
        exchange.whole(file)
    exchange.wait()


def _as_pickles(layers: dict[str, list[ShardCopy]], group: dist.ProcessGroup) -> None:
    for own in layers.values():
        gather_objects([copy.values for copy in own], group)


def _peak() -> int:
    """Bytes that this process has had at most; what is taken later within them does not show."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
