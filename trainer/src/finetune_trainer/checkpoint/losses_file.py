"""Writes the validation losses beside the training, which does not wait for the volume."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from finetune_trainer.checkpoint.selection import write_losses


class LossesFile:
    """validation.json in a folder of checkpoints, of rank 0. One thread, so that the newest losses win."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="losses")
        self._pending: Future[None] | None = None

    def write(self, losses: Mapping[int, float]) -> None:
        """Have the file replaced by all of `losses`, which are not changed afterwards."""
        self._pending = self._thread.submit(write_losses, self._folder, losses)

    def wait(self) -> None:
        """Return when the newest losses are durable. Raises OSError if they are not."""
        if (pending := self._pending) is not None:
            pending.result()

    def close(self) -> None:
        """End the thread when it has written what it was given."""
        self._thread.shutdown()
