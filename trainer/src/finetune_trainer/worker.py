"""One training process, started by torchrun: `python -m finetune_trainer.worker --run FILE --root DIR`."""

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist

from finetune_trainer.adapter_export import export_adapter
from finetune_trainer.agreement import write_together
from finetune_trainer.checkpoint.files import step_folder
from finetune_trainer.classify import as_stage_error
from finetune_trainer.config import lora_settings, trainer_config
from finetune_trainer.cpu import use_cpu
from finetune_trainer.failure import report
from finetune_trainer.model.names import CheckpointNames
from finetune_trainer.run import RunFile, load_run
from finetune_trainer.training import LoRATrainer

STOPPED = 143

Observer = Callable[[LoRATrainer], None]


def main() -> int:
    """Train the run and write its adapter; the exit code of contract/exit-codes.json."""
    from finetune_trainer.data import dataloader_config

    arguments = _parse_arguments()
    return run_worker(arguments.run, arguments.root, lambda run: trainer_config(run, dataloader_config(run)))


def run_worker(
    run_file: Path,
    root: Path,
    configure: Callable[[RunFile], LoRATrainer.Config],
    *,
    on_start: Observer = lambda _trainer: None,
    on_end: Observer = lambda _trainer: None,
) -> int:
    """Train as `configure` says and return the exit code. Known failures are reported, not raised."""
    try:
        run = load_run(run_file, root)
        if run.workers.device == "cpu":
            use_cpu()
        return STOPPED if train(run, configure(run), on_start, on_end) else 0
    except Exception as error:
        failure = as_stage_error(error)
        if failure is None:
            raise
        report(failure)
        return failure.exit_code


def train(run: RunFile, config: LoRATrainer.Config, on_start: Observer, on_end: Observer) -> bool:
    """Train, save and export. Returns whether a SIGTERM ended it before its last step."""
    trainer: LoRATrainer = config.build()
    signal.signal(signal.SIGTERM, lambda _signal, _frame: trainer.request_stop())
    on_start(trainer)
    try:
        trainer.train()
        if not trainer.stopped:
            _export(run, trainer)
        on_end(trainer)
    finally:
        trainer.close()
    dist.destroy_process_group()
    return trainer.stopped


def _export(run: RunFile, trainer: LoRATrainer) -> None:
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
