"""One measurement of our trainer at full width; prints a line of JSON. `full_width.py` starts it."""

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from safetensors.torch import save_file
from torchtitan.components.dataloader import BaseDataLoader

from finetune_trainer.contract.run_file import RunFolders, load_run
from finetune_trainer.model.names import CheckpointNames
from finetune_trainer.train.config import Data, trainer_config
from finetune_trainer.train.metrics import StepRecord
from finetune_trainer.train.trainer import LoRATrainer
from full_width_chats import CHAT_STEPS, CHAT_WARM_UP, drawn_chats, told_of_chats
from full_width_data import batch
from full_width_experts import expert_counts, imbalance
from packing import DISTRIBUTIONS

BENCH = Path(__file__).parent
GOLDEN = BENCH.parent / "tests/golden/run/quickstart.json"
WARM_UP = 3


class Sequences(BaseDataLoader):
    """`full_width_data` as micro-batches."""

    count = 32

    @dataclass(kw_only=True, slots=True)
    class Config(BaseDataLoader.Config):
        pass

    def __init__(self, *, seq_len: int, local_batch_size: int, **_: Any) -> None:
        self.length, self.batch_size, self.step = seq_len, local_batch_size, 0

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        drawn = [batch(step, batch_size=self.batch_size, length=self.length) for step in range(self.count)]
        while True:  # both sides draw their sequences before the clock starts
            tokens = drawn[self.step % self.count]
            positions = torch.arange(self.length).repeat(self.batch_size, 1)
            self.step += 1
            yield {"input": tokens[:, :-1], "positions": positions}, tokens[:, 1:].contiguous()

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.step = state_dict["step"]


ONE_PROCESS = {
    "RANK": "0",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "1",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "0",
}


def main() -> None:
    arguments = _parse_arguments()
    os.environ |= ONE_PROCESS
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(arguments, Path(folder))
        torch.cuda.synchronize()
        start = time.perf_counter()
        trainer.restore()
        loading = {
            "seconds": round(time.perf_counter() - start, 1),
            "weightsGiB": _gib(torch.cuda.memory_allocated()),
            "peakHostGiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1),
        }
        if arguments.first_values:
            _write_first_values(trainer, arguments.first_values)
        trainer.dataloader.count = arguments.steps
        result = _train(trainer, arguments)
        if arguments.chats:
            result["chats"] = {name: _chats(trainer, name, arguments) for name in DISTRIBUTIONS}
        if arguments.checkpoints:
            result["checkpoints"] = _checkpoints(trainer, result["medianSeconds"], arguments.checkpoints)
        if arguments.profile:
            _profile(trainer, arguments.profile)
        print("RESULT", json.dumps(vars(arguments) | {"loading": loading} | result, default=str), flush=True)
        os._exit(0)  # torch's teardown of a compiled program is slow, and measures nothing


def _trainer(arguments: argparse.Namespace, folder: Path) -> LoRATrainer:
    document = json.loads(GOLDEN.read_text())
    document["flavor"] = "deepseek_aghilora"
    document["workers"] = {"nodes": 1, "processesPerNode": 1, "device": "cuda"}
    document["lora"] |= {"rank": 16, "alpha": 32.0, "targets": arguments.targets.split(",")}
    document["lora"]["dropout"] = arguments.dropout
    document["training"] |= {
        "steps": 10_000,
        "sequenceLength": arguments.length,
        "microBatchSize": arguments.batch,
        "globalBatchSize": arguments.batch,
        "precision": "bfloat16",
        "frozenDtype": arguments.frozen,
        "frozenArithmetic": arguments.arithmetic,
        "recompute": arguments.recompute,
        "learningRate": arguments.rate,
        "schedule": "constant",
        "warmupSteps": 0,
        "overrides": {
            name: json.loads(value) for name, _, value in (o.partition("=") for o in arguments.override)
        },
    }
    document["training"]["checkpoint"]["interval"] = 10_000
    (folder / "run.json").write_text(json.dumps(document))
    run = load_run(folder / "run.json")
    base = folder / run.paths.base
    base.parent.mkdir(parents=True)
    base.symlink_to(arguments.base.resolve())
    config = trainer_config(run, RunFolders(root=folder, paths=run.paths), Data(training=Sequences.Config()))
    if arguments.attention:
        _use_attention(config, arguments.attention)
    trainer: LoRATrainer = config.build()
    return trainer


def _use_attention(config: LoRATrainer.Config, name: str) -> None:
    from finetune_trainer.model.flavors import ATTENTION

    for layer in config.model_spec.model.layers:
        layer.attention.inner_attention = ATTENTION[name]()


def _train(trainer: LoRATrainer, arguments: argparse.Namespace) -> dict[str, Any]:
    records: list[StepRecord] = []
    trainer.metrics_processor.recorders.append(
        lambda record: records.append(record) if isinstance(record, StepRecord) else None
    )
    counts = expert_counts()
    batches = trainer.batch_generator(trainer.dataloader)
    seconds = _timed(trainer, batches, arguments.steps, WARM_UP)
    timed = seconds[WARM_UP:]
    return {
        "attentionUsed": type(trainer.model_config.first_attention.inner_attention).__qualname__,
        "tokensPerSecond": round(arguments.batch * arguments.length / median(timed)),
        "medianSeconds": round(median(timed), 4),
        "leastSeconds": round(min(timed), 4),
        "firstStepSeconds": round(seconds[0], 1),
        "peakGiB": _gib(torch.cuda.max_memory_allocated()),
        "reservedGiB": _gib(torch.cuda.max_memory_reserved()),
        "seconds": [round(second, 4) for second in seconds],
        "losses": [round(record.loss, 5) for record in records],
        "expertLoad": imbalance(counts),
    }


def _timed(trainer: LoRATrainer, batches: Iterator[Any], steps: int, warm_up: int) -> list[float]:
    """Seconds of each step; peaks of memory count from the end of the warm-up."""
    seconds = []
    reset, torch.cuda.reset_peak_memory_stats = torch.cuda.reset_peak_memory_stats, lambda *_: None
    for step in range(steps):
        trainer.step += 1
        torch.cuda.synchronize()
        start = time.perf_counter()
        trainer.train_step(batches)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        if step + 1 == warm_up:
            reset()
    torch.cuda.reset_peak_memory_stats = reset
    return seconds


def _chats(trainer: LoRATrainer, distribution: str, arguments: argparse.Namespace) -> dict[str, Any]:
    batches = drawn_chats(distribution, batch_size=arguments.batch, length=arguments.length)
    counts = expert_counts()
    seconds = _timed(trainer, trainer.batch_generator(iter(batches)), CHAT_STEPS, CHAT_WARM_UP)
    peak = {"peakGiB": _gib(torch.cuda.max_memory_allocated()), "expertLoad": imbalance(counts)}
    return told_of_chats(batches, seconds) | peak


def _checkpoints(trainer: LoRATrainer, step_seconds: float, count: int) -> dict[str, Any]:
    """By how much a step with a checkpoint, or one during its writing, is longer; and what one weighs."""
    batches = trainer.batch_generator(trainer.dataloader)
    trainer.checkpointer.config.interval = 5
    trainer.step = 0
    seconds = []
    for _ in range(5 * count + 4):
        trainer.step += 1
        start = time.perf_counter()
        trainer.train_step(batches)
        trainer.checkpointer.save(trainer.step)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    trainer.checkpointer.close()
    newest = max(
        (Path(trainer.config.dump_folder) / "checkpoints").glob("step-*"), key=lambda f: f.stat().st_mtime
    )
    return {
        "bytes": sum(file.stat().st_size for file in newest.rglob("*") if file.is_file()),
        "saved": count,
        "longestStepSeconds": round(max(seconds), 4),
        "longestStallSeconds": round(max(seconds) - step_seconds, 4),
        "medianSecondsWithSave": round(median(seconds[4::5]), 4),
        "medianSecondsWithout": round(median(s for i, s in enumerate(seconds) if i % 5 != 4), 4),
    }


def _write_first_values(trainer: LoRATrainer, file: Path) -> None:
    """The adapters' first values by PEFT's names, for the other side to start from."""
    names, values = CheckpointNames.of(trainer.model_config), {}
    for name, parameter in trainer.model_parts[0].named_parameters():
        if parameter.requires_grad:
            ((module, side),) = names.adapter_modules(name.replace("_orig_mod.", ""), num_experts=0)
            values[f"base_model.model.{module}.{side}.default.weight"] = parameter.detach().cpu().contiguous()
    save_file(values, file)


def _profile(trainer: LoRATrainer, file: Path) -> None:
    from torch.profiler import ProfilerActivity, profile

    batches = trainer.batch_generator(trainer.dataloader)
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU], record_shapes=True) as profiler:
        trainer.step += 1
        trainer.train_step(batches)
        torch.cuda.synchronize()
    average = profiler.key_averages()
    file.write_text(
        average.table(sort_by="self_cuda_time_total", row_limit=70, max_name_column_width=110)
        + profiler.key_averages(group_by_input_shape=True).table(
            sort_by="self_cuda_time_total",
            row_limit=60,
            max_name_column_width=60,
            max_shapes_column_width=100,
        )
    )


def _gib(size: int) -> float:
    return round(size / 2**30, 2)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=13)
    parser.add_argument("--recompute", default="none")
    parser.add_argument("--frozen", default="precision")
    parser.add_argument("--arithmetic", default="precision")
    parser.add_argument("--targets", default="attention")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--attention", help="a row of the trainer's table, instead of its own choice")
    parser.add_argument("--override", action="append", default=[], help="NAME=JSON, a field of torchtitan's")
    parser.add_argument("--first-values", type=Path)
    parser.add_argument("--chats", action="store_true", help="then packed chats, in the same process")
    parser.add_argument("--checkpoints", type=int, default=0, help="how many to save and time, at the end")
    parser.add_argument("--profile", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
