"""The prepare stage's progress: how much of the base is in the volume."""

import threading
import time
from pathlib import Path

from finetune_trainer.contract.progress.snapshot import Progress


class FetchProgress:
    """Looks at the folder when it is asked, so that it knows nothing of how files come there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._total: int | None = None
        self._start = (0, 0.0)

    def expect(self, total: int) -> None:
        """From now on `total` bytes are fetched, less what is there already."""
        with self._lock:
            self._total = total
            self._start = (folder_size(self._folder), time.monotonic())

    def snapshot(self) -> Progress:
        with self._lock:
            total, (size_then, then) = self._total, self._start
        if total is None:
            return Progress(stage="prepare")
        size = min(folder_size(self._folder), total)
        rate = (size - size_then) / max(time.monotonic() - then, 1e-9)
        eta = (total - size) / rate if rate > 0 else None
        return Progress(stage="prepare", bytes_fetched=size, bytes_total=total, eta_seconds=eta)


def folder_size(folder: Path) -> int:
    """Bytes of all files below, those still being fetched among them."""
    size = 0
    for file in folder.rglob("*"):
        try:
            size += file.stat().st_size if file.is_file() else 0
        except OSError:  # renamed meanwhile
            continue
    return size
