"""Write checkpoints in a thread, so that the training goes on meanwhile."""

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from finetune_trainer.checkpoint import files
from finetune_trainer.checkpoint.randomness import by_rank
from finetune_trainer.checkpoint.tensors import check_finite, write_tensors
from finetune_trainer.contract import whole_file
from finetune_trainer.distributed.agreement import (
    gather_objects,
    new_host_group,
    write_together,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What this rank writes of a checkpoint: copies on the host, which the training no longer touches."""

    step: int
    layers: Mapping[str, Mapping[str, torch.Tensor]]
    """The whole tensors of each file that this rank writes, by name."""
    random_state: Mapping[str, torch.Tensor]
    data_position: Any
    state: Mapping[str, Any]
    """The same on all ranks."""


class CheckpointWriter:
    """Writes one snapshot at a time to `folder`/step-<n>/, together with the other ranks' writers."""

    def __init__(
        self,
        folder: Path,
        *,
        keep: int,
        on_saved: Callable[[int], None],
        best: files.Best = lambda _whole: None,
        before_publishing: Callable[[], None] = lambda: None,
    ) -> None:
        """keep: how many of the newest checkpoints are kept. on_saved: called in the thread with each durable
        step. best: which older one is kept as well. before_publishing: called on rank 0; what it raises keeps
        the checkpoint from counting."""
        self.folder = folder
        self._unreadable: tuple[int, ...] = ()
        self._keep = keep
        self._best = best
        self._on_saved = on_saved
        self._before_publishing = before_publishing
        self.add_to: Callable[[Path], None] = lambda _staging: None
        """Called on rank 0 with each folder whose layers are whole, before it appears."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        # Its own: the ranks' threads meet at another moment than their trainings do.
        self._group = new_host_group()
        self._pending: Future[None] | None = None

    def forget(self, unreadable: tuple[int, ...]) -> None:
        """Delete the checkpoints of these steps, which are of no use, when a newer one is whole."""
        self._unreadable = unreadable

    def start(self, snapshot: Snapshot) -> None:
        """Have `snapshot` written, after the one before it. Raises what that one failed of."""
        self.wait()
        self._pending = self._thread.submit(self._write, snapshot)

    def wait(self) -> None:
        """Return when everything is durable. Raises StorageError, on every rank, if the volume refused."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """End the thread when it has written what it was given."""
        self._thread.shutdown()

    def _write(self, snapshot: Snapshot) -> None:
        try:
            self._write_files(snapshot)
        except Exception as error:
            logger.error("checkpoint step-%d is not saved: %s", snapshot.step, error)
            raise
        self._on_saved(snapshot.step)

    def _write_files(self, snapshot: Snapshot) -> None:
        staging = files.staging_folder(self.folder, snapshot.step)
        first = dist.get_rank() == 0
        write_together(lambda: _make_empty(staging) if first else None, staging, self._group)
        written = write_together(lambda: _write_layers(snapshot, staging), staging, self._group)
        random_states = gather_objects(snapshot.random_state, self._group)
        positions = gather_objects(snapshot.data_position, self._group)

        def publish() -> None:
            self._before_publishing()
            checksums = {name: checksum for own in written for name, checksum in own.items()}
            state = {**snapshot.state, "dataloader": positions}
            checksums |= _write_states(staging, state, by_rank(random_states))
            self.add_to(staging)
            files.publish(staging, files.step_folder(self.folder, snapshot.step), checksums)
            unreadable = [step for step in self._unreadable if step != snapshot.step]
            files.prune(self.folder, self._keep, unreadable=unreadable, best=self._best)

        write_together(lambda: publish() if first else None, staging, self._group)
        self._unreadable = ()


def _make_empty(folder: Path) -> None:
    """A process that was killed may have left something."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _write_layers(snapshot: Snapshot, staging: Path) -> dict[str, str]:
    """Their checksums, by file."""
    return {name: _write_layer(tensors, staging / name) for name, tensors in snapshot.layers.items()}


def _write_layer(tensors: Mapping[str, torch.Tensor], file: Path) -> str:
    """Have it on the disk, read it back and see that it is finite; its checksum.

    The rank that wrote it does all that: it may be on another node than rank 0.
    """
    write_tensors(tensors, file)
    whole_file.sync(file)
    check_finite(file)
    return files.sha256(file)


def _write_states(
    staging: Path, state: Mapping[str, Any], random_states: dict[str, torch.Tensor]
) -> dict[str, str]:
    (staging / files.STATE).write_text(json.dumps(state, indent=2) + "\n")
    save_file(random_states, staging / files.RANDOM_STATE)
    for name in (files.STATE, files.RANDOM_STATE):
        whole_file.sync(staging / name)
    return {name: files.sha256(staging / name) for name in (files.STATE, files.RANDOM_STATE)}
