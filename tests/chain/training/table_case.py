"""Several short runs, one after the other, on as many processes as each asks for.

    table_case.py DIR RUN.json...

What a run computed is in RUN.result.json. Importing torchtitan takes longer than such a run: it is imported
once, and the ranks are forks, made before torch has used a thread. The model is three layers of tiny_lora.
"""

import json
import math
import multiprocessing
import os
import sys
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path

import torch
import torch.distributed as dist
from parallelism_table import TARGETS, result_file
from synthetic_data import SyntheticDataLoader
from torch.distributed.tensor import DTensor

from finetune_trainer.contract.run_file import RunFolders, load_run
from finetune_trainer.distributed.agreement import gather_objects
from finetune_trainer.distributed.shards import local_tensor
from finetune_trainer.model.base_loader import frozen_tensors, planned_reads
from finetune_trainer.model.flavors import FLAVORS
from finetune_trainer.model.names import CheckpointNames
from finetune_trainer.train.config import Data, trainer_config
from finetune_trainer.train.cpu import use_cpu
from finetune_trainer.train.metrics import Record, StepRecord
from finetune_trainer.train.samples import SamplesRecord
from finetune_trainer.train.trainer import LoRATrainer

FORK = multiprocessing.get_context("fork")
LAYERS = 3
"""Of tiny_lora: a dense one, and two of experts, so that both stages of a pipeline have some."""


def train_on_ranks(root: Path, run_file: Path) -> None:
    """Raises SystemExit when a rank failed."""
    size = load_run(run_file).workers.world_size
    ranks = [FORK.Process(target=train_rank, args=(root, run_file, rank, size)) for rank in range(size)]
    for rank in ranks:
        rank.start()
    running = {rank.sentinel: rank for rank in ranks}
    while running:
        for sentinel in wait(running):
            if running.pop(sentinel).exitcode:
                for rank in ranks:  # they would wait for the one that failed
                    rank.kill()
                sys.exit(f"{run_file} failed")


def train_rank(root: Path, run_file: Path, rank: int, size: int) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
    torch.autograd.set_multithreading_enabled(False)  # as torchtitan does where it makes the process group
    store = dist.FileStore(str(run_file.with_suffix(".store")), size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
    trainer, steps, samples, norms = train(root, run_file)
    result = {
        "steps": steps,
        "norms": norms,
        "samples": samples,
        "random_states": gather_objects(torch.get_rng_state().tolist()),
        "experts": gather_objects(experts_read(trainer)),
    }
    if rank == 0:
        result_file(run_file).write_text(json.dumps(result))
    trainer.close()
    dist.destroy_process_group()


def train(
    root: Path, run_file: Path
) -> tuple[LoRATrainer, list[dict[str, float]], list[list[str]], list[dict[str, float]]]:
    """Train the run from its newest checkpoint, if any; what every step's loss and gradient norm was, the
    samples on the way, and every step's gradient norms by target."""
    run = load_run(run_file)
    folders = RunFolders(root=root, paths=run.paths)
    trainer: LoRATrainer = trainer_config(run, folders, Data(training=SyntheticDataLoader.Config())).build()
    steps: list[dict[str, float]] = []
    samples: list[list[str]] = []
    norms: list[dict[str, float]] = []

    def record(step: Record) -> None:
        if isinstance(step, SamplesRecord):
            samples.append([sample.text for sample in step.samples])
            return
        assert isinstance(step, StepRecord)
        steps.append({"step": step.step, "loss": step.loss, "gradNorm": step.grad_norm})

    trainer.metrics_processor.recorders.append(record)
    trainer.optimizers.register_step_pre_hook(lambda *_: norms.append(norms_by_target(trainer)))
    trainer.restore()
    trainer.train()
    return trainer, steps, samples, norms


def norms_by_target(trainer: LoRATrainer) -> dict[str, float]:
    """Of the gradients that the optimizer is about to take, of all ranks together."""
    squares = {
        name: float(whole(parameter.grad).square().sum())
        for part in trainer.model_parts
        for name, parameter in part.named_parameters()
        if parameter.grad is not None
    }
    sums = dict.fromkeys(TARGETS, 0.0)
    for name, square in {
        name: square for own in gather_objects(squares) for name, square in own.items()
    }.items():
        target = "experts" if ".inner_experts." in name else "attention" if ".attention." in name else "mlp"
        sums[target] += square
    return {target: math.sqrt(total) for target, total in sums.items()}


def whole(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def experts_read(trainer: LoRATrainer) -> list[int]:
    """Which experts of its last layer with some this rank reads from the base, and into memory of its own."""
    names = CheckpointNames.of(trainer.model_config)
    found: dict[str, list[int]] = {}
    for part in trainer.model_parts:
        for name, tensor in frozen_tensors(part):
            if name.endswith("w1_EFD"):
                reads = list(planned_reads(name, tensor, names))
                assert sum(read.target.numel() for read in reads) == local_tensor(tensor).numel()
                found[name] = [int(read.hf_name.split(".experts.")[1].split(".")[0]) for read in reads]
    return found[max(found)]


if __name__ == "__main__":
    use_cpu()
    tiny = FLAVORS["tiny_lora"]
    FLAVORS["tiny_lora"] = replace(tiny, shape=replace(tiny.shape, num_hidden_layers=LAYERS))
    for file in sys.argv[2:]:
        train_on_ranks(Path(sys.argv[1]), Path(file))
