"""A worker process as the product's, on synthetic data, that also writes down what the tests compare.

record.json: losses and gradient norms. dump.safetensors: the frozen weights after training, under their
names in the base, and the logits of the trained model on sequence 0.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import save_file
from synthetic_data import SyntheticDataLoader, sequence
from torch.distributed.tensor import DTensor

from finetune_trainer.model.base_loader import frozen_tensors
from finetune_trainer.model.names import CheckpointNames
from finetune_trainer.train import worker
from finetune_trainer.train.config import Data, trainer_config
from finetune_trainer.train.metrics import Record, ValidationRecord
from finetune_trainer.train.samples import SamplesRecord
from finetune_trainer.train.trainer import LoRATrainer


def record_steps(trainer: LoRATrainer, file: Path) -> None:
    """Write every step to `file`, on rank 0: under pipeline parallelism it has to be told the loss."""
    steps: list[dict[str, float]] = []

    def record(step: Record) -> None:
        if isinstance(step, SamplesRecord):
            return
        if isinstance(step, ValidationRecord):
            if step.step == 0:
                steps.append({"step": 0})
            steps[-1]["validationLoss"] = step.loss
        else:
            told = {"step": step.step, "loss": step.loss, "gradNorm": step.grad_norm}
            told |= {"expertLoad": step.expert_load.fullest if step.expert_load else 0.0}
            steps.append(told | ({"slowestRank": step.slowest.rank} if step.slowest else {}))
        if dist.get_rank() == 0:
            file.write_text(json.dumps(steps))

    trainer.metrics_processor.recorders.append(record)


def poison(trainer: LoRATrainer, step: int) -> None:
    """Make this rank's gradients NaN at `step`, as an overflow in the last layer does; its loss is finite."""

    def spoil(_module: torch.nn.Module, _inputs: object, output: torch.Tensor) -> None:
        if trainer.step == step and output.requires_grad:
            output.register_hook(lambda gradient: gradient * float("nan"))

    list(trainer.model_parts[-1].layers.children())[-1].register_forward_hook(spoil)


def slow_down() -> None:
    """Make this rank's attention slow, as a GPU that is too hot does."""
    attend = F.scaled_dot_product_attention

    def slowly(*arguments: Any, **settings: Any) -> torch.Tensor:
        time.sleep(0.1)
        return attend(*arguments, **settings)

    F.scaled_dot_product_attention = slowly


@torch.no_grad()
def dump(trainer: LoRATrainer, file: Path) -> None:
    tensors = {}
    names = CheckpointNames.of(trainer.model_config)
    for part in trainer.model_parts:
        for name, tensor in frozen_tensors(part):
            whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            hf_names = names.tensors(name, num_experts=whole.shape[0])
            parts = [whole] if len(hf_names) == 1 else list(whole.unbind(0))
            tensors |= {hf: part.clone() for hf, part in zip(hf_names, parts, strict=True)}
    if len(trainer.model_parts) == 1 and not trainer.parallel_dims.pp_enabled:
        tensors["logits"] = _logits(trainer)
    if dist.get_rank() == 0:
        save_file(tensors, file)


def _logits(trainer: LoRATrainer) -> torch.Tensor:
    model = trainer.model_parts[0].eval()
    model._skip_lm_head = False
    tokens, _, _ = sequence(0, trainer.config.training.seq_len)
    positions = torch.arange(len(tokens)).unsqueeze(0)
    with trainer.train_context():
        masks = model.get_attention_masks(positions)
        return model(tokens.unsqueeze(0), positions=positions, attention_masks=masks).float().contiguous()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--sequences", type=int)
    parser.add_argument(
        "--tokens", action="store_true", help="train on what is tokenized in the run's folder"
    )
    parser.add_argument("--dump", action="store_true")
    parser.add_argument("--validate", action="store_true")
    parser.add_argument(
        "--poisoned-rank", type=int, help="whose gradients are NaN at step 3; it is slow, too"
    )
    parser.add_argument("--largest-file", type=int, help="bytes; a volume that is full")
    arguments = parser.parse_args()
    if arguments.largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (arguments.largest_file, arguments.largest_file))
    data = Data(
        training=SyntheticDataLoader.Config(sequences=arguments.sequences),
        validation=SyntheticDataLoader.Config(sequences=8) if arguments.validate else None,
    )

    def finish(trainer: LoRATrainer) -> None:
        if arguments.dump:
            dump(trainer, arguments.root / "dump.safetensors")

    def start(trainer: LoRATrainer) -> None:
        record_steps(trainer, arguments.root / "record.json")
        if arguments.poisoned_rank == dist.get_rank():
            poison(trainer, step=3)
            slow_down()

    return worker.run_worker(
        arguments.run,
        arguments.root,
        worker.configure if arguments.tokens else lambda run, folders: trainer_config(run, folders, data),
        on_start=start,
        on_end=finish,
    )


if __name__ == "__main__":
    sys.exit(main())
