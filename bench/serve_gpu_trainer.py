"""The trainer's own model, base and adapter as they were trained: what served answers are compared with.

In the trainer's environment, where a job has trained. Variants: `trained`, and `base`, whose adapters add 0.
"""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from finetune_trainer.contract.run_file import RunFolders, load_run
from finetune_trainer.model.lora.names import is_adapter
from finetune_trainer.train.cpu import use_cpu
from finetune_trainer.train.samples import _evaluated
from finetune_trainer.train.trainer import LoRATrainer
from finetune_trainer.train.worker import configure
from full_width_trainer import ONE_PROCESS
from serve_gpu_answers import Answers, Reading, reading_of

ROWS = 8
MULTIPLE = 128


def restored(run_file: Path, root: Path) -> LoRATrainer:
    """The trainer of a run at its newest checkpoint."""
    run = load_run(run_file)
    if run.workers.device == "cpu":
        use_cpu()
    trainer: LoRATrainer = configure(run, RunFolders(root=root.resolve(), paths=run.paths)).build()
    trainer.restore()
    return trainer


@torch.no_grad()
def read_texts(trainer: LoRATrainer, texts: Sequence[list[int]]) -> list[Reading]:
    """As the trainer computes: its dtypes, its attention, its head."""
    (model,) = trainer.model_parts
    with _evaluated(model):
        starts = range(0, len(texts), ROWS)
        return [each for start in starts for each in _read(trainer, texts[start : start + ROWS])]


def _read(trainer: LoRATrainer, texts: Sequence[list[int]]) -> Iterator[Reading]:
    (model,) = trainer.model_parts
    length = min(trainer.config.training.seq_len, -(-max(map(len, texts)) // MULTIPLE) * MULTIPLE)
    tokens = torch.zeros((ROWS, length), dtype=torch.int64)
    for row, text in zip(tokens, texts, strict=False):
        row[: len(text)] = torch.tensor(text)
    positions = torch.arange(length).expand(tokens.shape).contiguous().to(trainer.device)
    with trainer.train_context():
        masks = model.get_attention_masks(positions)
        states = model(tokens.to(trainer.device), positions=positions, attention_masks=masks)
        for row, text in zip(states, texts, strict=False):
            yield reading_of(model.lm_head(row[None, : len(text) - 1])[0].float(), text)


@torch.no_grad()
def without_adapters(trainer: LoRATrainer) -> LoRATrainer:
    (model,) = trainer.model_parts
    for name, parameter in model.named_parameters():
        if is_adapter(name) and "lora_b" in name:
            parameter.zero_()
    return trainer


def main() -> None:
    arguments = _parse_arguments()
    os.environ |= ONE_PROCESS
    answers = Answers(arguments.answers, arguments.tokens)
    trainer = restored(arguments.run, arguments.root)
    step = trainer.step
    readings = {"trained": read_texts(trainer, answers.texts)}
    readings["base"] = read_texts(without_adapters(trainer), answers.texts)
    result = answers.compared(readings, lambda variant: (variant, "base"))
    arguments.out.write_text(json.dumps({"step": step, **result}, indent=1))
    print("TRAINER", json.dumps(result, indent=1), flush=True)
    os._exit(0)  # torch's teardown of a compiled program is slow, and says nothing


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True, help="the storage folder")
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("answers", nargs="+", help="FILE=MODEL=VARIANT")
    return parser.parse_args()


if __name__ == "__main__":
    main()
