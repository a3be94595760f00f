"""One training process, started by torchrun: `python -m finetune_trainer.worker --run FILE --root DIR`."""

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch.distributed as dist

from finetune_trainer.run import RunFile, load_run

if TYPE_CHECKING:
    from finetune_trainer.training import LoRATrainer

STOPPED = 143


def main() -> int:
    """Train the run, write its adapter; the exit code of contract/exit-codes.json."""
    arguments = _parse_arguments()
    run = load_run(arguments.run, arguments.root)
    if run.workers.device == "cpu":
        from finetune_trainer.cpu import use_cpu

        use_cpu()
    return STOPPED if train(run) else 0


def train(run: RunFile) -> bool:
    """Train, save and export. Returns whether a SIGTERM ended it before its last step."""
    # torchtitan looks for its device when imported; the CPU must have been chosen before.
    from finetune_trainer.config import trainer_config

    trainer = trainer_config(run).build()
    signal.signal(signal.SIGTERM, lambda _signal, _frame: trainer.request_stop())
    try:
        trainer.train()
        if not trainer.stopped:
            _export(run, trainer)
    finally:
        trainer.close()
    dist.destroy_process_group()
    return trainer.stopped


def _export(run: RunFile, trainer: "LoRATrainer") -> None:
    from finetune_trainer.adapter_export import export_adapter
    from finetune_trainer.agreement import write_together
    from finetune_trainer.checkpoint.files import step_folder
    from finetune_trainer.config import lora_settings
    from finetune_trainer.model.names import CheckpointNames

    def export() -> None:
        if dist.get_rank() == 0:
            export_adapter(
                step_folder(trainer.checkpointer.folder, trainer.step),
                run.run_path / "adapter",
                names=CheckpointNames.of(trainer.model_config),
                settings=lora_settings(run),
                base=run.model.uri,
            )

    write_together(export, run.run_path)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="finetune_trainer.worker")
    parser.add_argument("--run", type=Path, required=True, help="the run file")
    parser.add_argument("--root", type=Path, required=True, help="where the volume is mounted")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
