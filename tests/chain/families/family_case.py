"""Prepare and train runs of several families, one after the other, as the product's two commands do.

    family_case.py ROOT...

In each ROOT is a run.json. What the trainer began with and computed is written beside it: first.safetensors
(the adapters, by PEFT's names), batches.safetensors and losses.json. Importing torchtitan and transformers
takes longer than such a run: they are imported once, and every run is a fork, made before torch has used a
thread.
"""

import json
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import torch
import transformers.models.deepseek_v2.modeling_deepseek_v2
import transformers.models.deepseek_v3.modeling_deepseek_v3
import transformers.models.glm4_moe_lite.modeling_glm4_moe_lite  # noqa: F401 (prepare compares with them)
from safetensors.torch import save_file

from finetune_trainer.__main__ import main
from finetune_trainer.model.lora.names import is_adapter
from finetune_trainer.model.names import CheckpointNames
from finetune_trainer.prepare import stage  # noqa: F401
from finetune_trainer.train import worker
from finetune_trainer.train.metrics import StepRecord, ValidationRecord
from finetune_trainer.train.trainer import LoRATrainer

FORK = multiprocessing.get_context("fork")


def run(root: Path) -> None:
    """Exits with the first exit code that is not 0."""
    torch.autograd.set_multithreading_enabled(False)  # as torchtitan does where it makes the process group
    arguments = ["--run", str(root / "run.json"), "--root", str(root)]
    code = main(["prepare", *arguments]) or worker.run_worker(
        root / "run.json", root, worker.configure, on_start=lambda trainer: record(trainer, root)
    )
    sys.exit(code)


def record(trainer: LoRATrainer, root: Path) -> None:
    """Write the adapters' first values, and have every batch and loss written."""
    names = CheckpointNames.of(trainer.model_config)
    first = {}
    for name, parameter in trainer.model_parts[0].named_parameters():
        if is_adapter(name):
            ((module, side),) = names.adapter_modules(name, num_experts=0)
            first[f"{module}.{side}"] = parameter.detach().clone()
    save_file(first, root / "first.safetensors")
    _record_batches(trainer, root / "batches.safetensors")
    losses: list[float] = []

    def note(step: StepRecord | ValidationRecord) -> None:
        losses.append(step.loss)
        (root / "losses.json").write_text(json.dumps(losses))

    trainer.metrics_processor.recorders.append(note)


def _record_batches(trainer: LoRATrainer, file: Path) -> None:
    batches: dict[str, torch.Tensor] = {}
    train = trainer.forward_backward_step

    def recorded(**batch: Any) -> torch.Tensor:
        step = len(batches) // 3
        parts = {name: batch["input_dict"][name] for name in ("input", "positions")}
        for name, tensor in (parts | {"labels": batch["labels"]}).items():
            batches[f"{step}.{name}"] = tensor.clone()
        save_file(batches, file)
        return train(**batch)

    trainer.forward_backward_step = recorded


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        process = FORK.Process(target=run, args=(Path(folder).resolve(),))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(f"{folder} failed")
