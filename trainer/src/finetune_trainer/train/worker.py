"""A training process, as torchrun starts it: `-m finetune_trainer.train.worker --run FILE --root DIR`."""

import argparse
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torchtitan.tools.logging import init_logger, logger

from finetune_trainer.checkpoint.files import step_folder
from finetune_trainer.checkpoint.peft_adapter import ADAPTER, export_adapter
from finetune_trainer.checkpoint.selection import write_selection
from finetune_trainer.contract.failure import Failure, Stopped, failure_of, report
from finetune_trainer.contract.progress import LoadProgress, Progress, TrainingProgress, serve_progress
from finetune_trainer.contract.progress.snapshot import camel_case
from finetune_trainer.contract.run_file import RunFile, RunFolders, load_run
from finetune_trainer.data import count_sequences, dataloader_config, has_validation
from finetune_trainer.distributed.agreement import gather_objects, write_together
from finetune_trainer.distributed.process_exit import exit_process
from finetune_trainer.model.lora.magnitudes import base_norms
from finetune_trainer.model.names import CheckpointNames
from finetune_trainer.tracking.background import BackgroundTracker
from finetune_trainer.tracking.trackers import open_trackers
from finetune_trainer.train.agent import stop_with_agent
from finetune_trainer.train.config import Data, lora_settings, trainer_config
from finetune_trainer.train.cpu import use_cpu
from finetune_trainer.train.metrics import Record, ValidationRecord, tracked_values
from finetune_trainer.train.rewards import Rewards
from finetune_trainer.train.samples import SamplesRecord
from finetune_trainer.train.trainer import LoRATrainer

Configure = Callable[[RunFile, RunFolders], LoRATrainer.Config]
Observer = Callable[[LoRATrainer], None]


def main() -> int:
    """Train the run and write its adapter; the exit code of contract/exit-codes.json."""
    stop_with_agent()
    init_logger()
    arguments = _parse_arguments()
    return run_worker(arguments.run, arguments.root, configure)


def configure(run: RunFile, folders: RunFolders) -> LoRATrainer.Config:
    """torchtitan's configuration for the data that prepare has tokenized."""
    data = Data(
        training=dataloader_config(run, folders),
        validation=dataloader_config(run, folders, validation=True) if has_validation(folders) else None,
        sequences=count_sequences(folders) if run.training.epochs is not None else None,
    )
    return trainer_config(run, folders, data)


def run_worker(
    run_file: Path,
    root: Path,
    configure: Configure,
    *,
    on_start: Observer = lambda _trainer: None,
    on_end: Observer = lambda _trainer: None,
) -> int:
    """Train as `configure` says and return the exit code; a failure is reported, not raised."""
    try:
        run = load_run(run_file)
        folders = RunFolders(root=root.resolve(), paths=run.paths)
        if folders.adapter.exists():
            return 0
        if run.workers.device == "cpu":
            use_cpu()
        train(run, folders, configure(run, folders), on_start, on_end)
    except Exception as error:
        failure = failure_of(error)
        report(failure if failure is error else _caused_by(failure, error))
        return failure.exit_code
    return 0


def train(
    run: RunFile, folders: RunFolders, config: LoRATrainer.Config, on_start: Observer, on_end: Observer
) -> None:
    """Train, save and export. Raises Stopped when a SIGTERM ended it before its last step."""
    trainer: LoRATrainer = config.build()
    signal.signal(signal.SIGTERM, lambda _signal, _frame: trainer.request_stop())
    on_start(trainer)
    if run.training.checkpoint.adapters:
        trainer.checkpointer.writer.add_to = partial(
            _export_beside, run, CheckpointNames.of(trainer.model_config)
        )
    try:
        with _served_progress(trainer) as told:
            trainer.restore()
            with _reported_progress(trainer, run, folders, told):
                trainer.train()
        if not trainer.stopped:
            _export(run, folders, trainer)
        on_end(trainer)
    finally:
        trainer.close()
    dist.destroy_process_group()
    if trainer.stopped:
        raise Stopped(f"stopped by SIGTERM after saving step {trainer.step}")


@dataclass
class _Told:
    """Whose progress is served."""

    read: Callable[[], Progress]


@contextmanager
def _served_progress(trainer: LoRATrainer) -> Iterator[_Told]:
    """Rank 0 serves the run's progress: of a large base that is loaded for minutes, too."""
    loading = LoadProgress()
    told = _Told(loading.snapshot)
    if dist.get_rank() != 0:
        yield told
        return
    trainer.checkpointer.on_base_read = loading.record
    with serve_progress(lambda: told.read()):
        yield told


@contextmanager
def _reported_progress(
    trainer: LoRATrainer, run: RunFile, folders: RunFolders, told: _Told
) -> Iterator[None]:
    """Rank 0 tells of its steps: in the run's metrics.jsonl, and to the trackers that the run asks for."""
    if dist.get_rank() != 0:
        yield
        return
    progress = TrainingProgress(
        total_steps=trainer.config.training.steps, metrics=folders.metrics, resumed_step=trainer.step
    )
    if trainer.checkpointer.last_saved is not None:
        progress.record_checkpoint(f"step-{trainer.checkpointer.last_saved}")
    trainer.checkpointer.listeners.append(progress.record_checkpoint)
    trainer.metrics_processor.recorders.append(partial(_record, progress))
    trackers = open_trackers(run, folders, trainer.step, progress.record_tracking)
    trainer.metrics_processor.recorders += [partial(_track, tracker) for tracker in trackers]
    told.read = progress.snapshot
    try:
        yield
    finally:
        progress.close()
        for tracker in trackers:
            tracker.close()


def _track(tracker: BackgroundTracker, record: Record) -> None:
    if values := tracked_values(record):
        tracker.log(record.step, values)


def _record(progress: TrainingProgress, record: Record) -> None:
    if isinstance(record, SamplesRecord):
        progress.record_samples(record.step, [asdict(sample) for sample in record.samples])
        return
    if isinstance(record, ValidationRecord):
        progress.record_validation(record.step, record.loss, record.by_source, _rewards(record.rewards))
        return
    progress.record_step(
        record.step,
        loss=record.loss,
        grad_norm=record.grad_norm,
        learning_rate=record.learning_rate,
        tokens_per_second=record.tokens_per_second,
        expert_load=record.expert_load.fullest if record.expert_load else None,
        expert_rank_load=record.expert_load.fullest_rank if record.expert_load else None,
        fullest_expert=str(record.expert_load) if record.expert_load else None,
        slowest_rank=record.slowest.rank if record.slowest else None,
        slowdown=record.slowest.slowdown if record.slowest else None,
        rewards=_rewards(record.rewards),
    )


def _rewards(rewards: Rewards | None) -> dict[str, float]:
    """By name, as JSON has them."""
    told = {**asdict(rewards), "margin": rewards.margin} if rewards else {}
    return {camel_case(name): value for name, value in told.items()}


def _export(run: RunFile, folders: RunFolders, trainer: LoRATrainer) -> None:
    chosen = trainer.checkpointer.selection()
    logger.info("the adapter is %s", chosen)
    norms = _base_norms(trainer) if run.lora.dora else {}

    def export() -> None:
        if dist.get_rank() == 0:
            write_selection(folders.selection, chosen)
            export_adapter(
                step_folder(folders.checkpoints, chosen.step),
                folders.adapter,
                names=CheckpointNames.of(trainer.model_config),
                settings=lora_settings(run),
                base=run.model.uri,
                norms=norms,
            )

    write_together(export, folders.adapter)


def _export_beside(run: RunFile, names: CheckpointNames, checkpoint: Path) -> None:
    """Write a checkpoint's adapter into its folder."""
    export_adapter(
        checkpoint,
        checkpoint / ADAPTER,
        names=names,
        settings=lora_settings(run),
        base=run.model.uri,
    )


def _base_norms(trainer: LoRATrainer) -> dict[str, torch.Tensor]:
    """Of the layers of all stages, on every rank."""
    by_rank = gather_objects(base_norms(trainer.model_parts))
    return {name: norms for found in by_rank for name, norms in found.items()}


def _caused_by(failure: Failure, error: Exception) -> Failure:
    failure.__cause__ = error
    return failure


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="finetune_trainer.train.worker")
    parser.add_argument("--run", type=Path, required=True, help="the run file")
    parser.add_argument("--root", type=Path, required=True, help="where the volume is mounted")
    return parser.parse_args()


if __name__ == "__main__":
    exit_process(main())
