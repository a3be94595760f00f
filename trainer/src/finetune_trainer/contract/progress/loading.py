"""The training's progress before its first step: how much of the base this process has read."""

import threading
import time

from finetune_trainer.contract.progress.snapshot import Progress


class LoadProgress:
    """What the process that is asked has read of its part; the others read as much at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._start = time.monotonic()
        self._read: tuple[int, int] | None = None

    def record(self, done: int, total: int) -> None:
        """`done` of `total` bytes are read. May be called from any thread."""
        with self._lock:
            self._read = done, total

    def snapshot(self) -> Progress:
        with self._lock:
            read = self._read
        if read is None:
            return Progress(stage="train")
        done, total = read
        eta = (total - done) * (time.monotonic() - self._start) / done if done else None
        return Progress(stage="train", bytes_loaded=done, bytes_total=total, eta_seconds=eta)
