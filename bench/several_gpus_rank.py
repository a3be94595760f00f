"""One rank of a case of `several_gpus.py`, which starts it under torchrun; rank 0 prints a line of JSON.

Every case trains on the same global batches from the same first values, so that losses compare:
`--accumulate` says how many micro-batches of two sequences a step has over all ranks.
"""

import argparse
import faulthandler
import json
import os
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from torchtitan.components.dataloader import BaseDataLoader

from finetune_trainer.contract.run_file import RunFolders, load_run
from finetune_trainer.distributed.agreement import gather_objects
from finetune_trainer.model import frozen_base
from finetune_trainer.train.config import Data, trainer_config
from finetune_trainer.train.cpu import use_cpu
from finetune_trainer.train.metrics import StepRecord
from finetune_trainer.train.trainer import LoRATrainer
from full_width_data import batch
from several_gpus_deep import register

GOLDEN = Path(__file__).parents[1] / "tests/golden/run/quickstart.json"
MICRO_BATCH = 2
WARM_UP = 3
DISTINCT = 32
DEGREES = ("replicate", "tensor", "expert", "pipeline", "context")
# What run_document reads, where a case does not say.
DEFAULTS: dict[str, Any] = {
    "length": 4096,
    "batch": MICRO_BATCH,
    "recompute": "none",
    "frozen": "precision",
    "arithmetic": "precision",
    "frozen_weights": "sharded",
    "one_card": 0,
    "rate": 5e-4,
    **dict.fromkeys(DEGREES, 1),
}


class MicroBatches(BaseDataLoader):
    """Micro-batch k of the run is the same at every number of ranks; side by side they take the next ones."""

    @dataclass(kw_only=True, slots=True)
    class Config(BaseDataLoader.Config):
        pass

    def __init__(
        self, *, dp_world_size: int, dp_rank: int, seq_len: int, local_batch_size: int, **_: Any
    ) -> None:
        self.ranks, self.rank, self.length, self.taken = dp_world_size, dp_rank, seq_len, 0
        self.batch = local_batch_size

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        drawn = [batch(number, batch_size=self.batch, length=self.length) for number in range(DISTINCT)]
        positions = torch.arange(self.length).repeat(self.batch, 1)
        while True:
            tokens = drawn[(self.taken + self.rank) % DISTINCT]
            self.taken += self.ranks
            yield {"input": tokens[:, :-1], "positions": positions}, tokens[:, 1:].contiguous()

    def state_dict(self) -> dict[str, Any]:
        return {"taken": self.taken}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.taken = state_dict["taken"]


def main() -> None:
    arguments = _parse_arguments()
    if arguments.traces:
        faulthandler.dump_traceback_later(arguments.traces, repeat=True)
    while arguments.go and not arguments.go.exists():  # the case before this one is not over yet
        time.sleep(0.05)
    started = time.perf_counter()
    if arguments.device == "cpu":
        use_cpu()
    if arguments.moved:
        frozen_base.set_aside = lambda *_, **__: []
    if arguments.layers:
        register(arguments.flavor, num_hidden_layers=arguments.layers)
    if arguments.experts_per_token:
        register(arguments.flavor, num_experts_per_tok=arguments.experts_per_token)
    trainer = _trainer(arguments)
    _synchronize(arguments)
    before = time.perf_counter()
    trainer.restore()
    _synchronize(arguments)
    loaded = time.perf_counter()
    result = _train(trainer, arguments)
    ranks = gather_objects(_memory(arguments) | {"loadSeconds": round(loaded - before, 1)})
    if dist.get_rank() == 0:
        figures = {"startSeconds": round(before - started, 1), "steps": result, "ranks": ranks}
        print("RESULT", json.dumps(vars(arguments) | figures, default=str), flush=True)
    dist.barrier()
    os._exit(0)  # torch's teardown of a compiled program is slow, and measures nothing


def run_document(arguments: argparse.Namespace, world_size: int) -> dict[str, Any]:
    """run.json of a case."""
    document: dict[str, Any] = json.loads(GOLDEN.read_text())
    document["flavor"] = arguments.flavor
    document["workers"] = {"nodes": 1, "processesPerNode": world_size, "device": arguments.device}
    document["lora"] |= {"rank": 16, "alpha": 32.0, "targets": ["attention"]}
    document["training"] |= {
        "steps": 10_000,
        "sequenceLength": arguments.length,
        "microBatchSize": arguments.batch,
        "globalBatchSize": arguments.batch * arguments.accumulate,
        "precision": arguments.precision,
        "frozenDtype": arguments.frozen,
        "frozenArithmetic": arguments.arithmetic,
        "recompute": arguments.recompute,
        "learningRate": arguments.rate,
        "schedule": "constant",
        "warmupSteps": 0,
        # Which else refuses processes that share a card.
        "overrides": {"preflight.enable": False} if arguments.one_card else {},
        "parallelism": {
            "data": None,
            **{degree: getattr(arguments, degree) for degree in DEGREES},
            "frozenWeights": arguments.frozen_weights,
        },
    }
    document["training"]["checkpoint"]["interval"] = 10_000
    return document


def _trainer(arguments: argparse.Namespace) -> LoRATrainer:
    folder = arguments.folder / f"rank-{os.environ['RANK']}"
    folder.mkdir(parents=True)
    document = run_document(arguments, int(os.environ["WORLD_SIZE"]))
    (folder / "run.json").write_text(json.dumps(document))
    run = load_run(folder / "run.json")
    _link_base(folder / run.paths.base, arguments)
    folders = RunFolders(root=folder, paths=run.paths)
    config = trainer_config(run, folders, Data(training=MicroBatches.Config()))
    config.compile.enable = config.compile.enable or arguments.compile
    trainer: LoRATrainer = config.build()
    return trainer


def _link_base(folder: Path, arguments: argparse.Namespace) -> None:
    """The base's files, and a config.json that says what the flavour was changed to."""
    folder.mkdir(parents=True)
    for file in arguments.base.resolve().iterdir():
        (folder / file.name).symlink_to(file)
    if arguments.experts_per_token:
        own = folder / "config.json"
        told = json.loads(own.read_text()) | {"num_experts_per_tok": arguments.experts_per_token}
        own.unlink()
        own.write_text(json.dumps(told))


def _train(trainer: LoRATrainer, arguments: argparse.Namespace) -> dict[str, Any]:
    records: list[StepRecord] = []
    trainer.metrics_processor.recorders.append(
        lambda record: records.append(record) if isinstance(record, StepRecord) else None
    )
    batches = trainer.batch_generator(trainer.dataloader)
    reset, torch.cuda.reset_peak_memory_stats = torch.cuda.reset_peak_memory_stats, lambda *_: None
    warm_up = min(WARM_UP, arguments.steps // 2)
    seconds = [_step(trainer, batches, arguments) for _ in range(warm_up)]
    if arguments.device == "cuda":
        reset()
    seconds += [_step(trainer, batches, arguments) for _ in range(arguments.steps - warm_up)]
    result = _rate(seconds[warm_up:], arguments.batch * arguments.accumulate * arguments.length) | {
        "firstStepSeconds": round(seconds[0], 1),
        "losses": [round(record.loss, 5) for record in records],
        "gradNorms": [round(record.grad_norm, 5) for record in records],
        "expertRankLoads": [
            round(record.expert_load.fullest_rank, 3) for record in records if record.expert_load
        ],
        "attention": type(trainer.model_config.first_attention.inner_attention).__qualname__,
    }
    if arguments.profiled:
        result["kernels"] = _kernels(trainer, batches, arguments)
    if arguments.micro_steps:  # a step of one micro-batch, as bench/full_width.py has it
        trainer.gradient_accumulation_steps = 1
        seconds = [_step(trainer, batches, arguments) for _ in range(arguments.micro_steps)]
        result["ofOneMicroBatch"] = _rate(seconds[1:], arguments.batch * arguments.length)
    return result


def _step(trainer: LoRATrainer, batches: Iterator[Any], arguments: argparse.Namespace) -> float:
    trainer.step += 1
    _synchronize(arguments)
    start = time.perf_counter()
    trainer.train_step(batches)
    _synchronize(arguments)
    return time.perf_counter() - start


def _kernels(trainer: LoRATrainer, batches: Iterator[Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of a step by kernel, those that take most, and how often each runs."""
    with torch.profiler.profile() as profiler:
        _step(trainer, batches, arguments)
    kernels = [event for event in profiler.key_averages() if event.device_type.name != "CPU"]
    kernels.sort(key=lambda event: -event.self_device_time_total)
    return {e.key[:90]: [round(e.self_device_time_total / 1000, 2), e.count] for e in kernels[:30]}


def _rate(seconds: list[float], tokens: int) -> dict[str, Any]:
    return {
        "tokensPerSecond": round(tokens / median(seconds)),
        "medianSeconds": round(median(seconds), 4),
        "leastSeconds": round(min(seconds), 4),
        "mostSeconds": round(max(seconds), 4),
    }


def _memory(arguments: argparse.Namespace) -> dict[str, float]:
    """ru_maxrss counts the pages of the files that were read; what is anonymous does not."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    host = {
        "peakHostGiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1),
        "anonymousHostGiB": round(int(status["RssAnon"].split()[0]) / 2**20, 1),
    }
    if arguments.device == "cpu":
        return host
    free, total = torch.cuda.mem_get_info()
    return host | {
        "peakGiB": round(torch.cuda.max_memory_allocated() / 2**30, 2),
        "reservedGiB": round(torch.cuda.max_memory_reserved() / 2**30, 2),
        "cardUsedGiB": round((total - free) / 2**30, 2),
    }


def _synchronize(arguments: argparse.Namespace) -> None:
    if arguments.device == "cuda":
        torch.cuda.synchronize()


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="where the case's run files go")
    parser.add_argument("--go", type=Path, help="wait, with everything imported, until this file is there")
    parser.add_argument("--flavor", default="deepseek_aghilora")
    parser.add_argument("--layers", type=int, default=0, help="of a deeper flavour; 0: the flavour's own")
    parser.add_argument("--experts-per-token", type=int, default=0, help="0: the flavour's own")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--length", type=int)
    parser.add_argument("--accumulate", type=int, required=True)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--micro-steps", type=int, default=0)
    parser.add_argument("--profiled", type=int, default=0, help="1: a step more, by kernel")
    parser.add_argument("--recompute")
    parser.add_argument("--batch", type=int, help="sequences of a micro-batch")
    parser.add_argument("--frozen")
    parser.add_argument("--arithmetic")
    parser.add_argument("--frozen-weights")
    parser.add_argument(
        "--moved", type=int, default=0, help="1: FSDP has all frozen weights, as it had before"
    )
    parser.add_argument("--one-card", type=int, help="1: all ranks share one GPU")
    parser.add_argument("--traces", type=int, default=0, help="seconds between tracebacks of all threads")
    parser.add_argument("--rate", type=float)
    parser.add_argument("--compile", action="store_true", help="on CPUs too")
    for degree in DEGREES:
        parser.add_argument(f"--{degree}", type=int)
    parser.set_defaults(**DEFAULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
