"""Writes into a file that is there already, such as a reflinked copy."""

import os
from pathlib import Path


class PatchWriter:
    """Overwrites from wherever `seek` points; durable when the `with` block ends."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        self._position = 0

    def __enter__(self) -> "PatchWriter":
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        try:
            if failed is None:
                os.fsync(self._fd)
        finally:
            os.close(self._fd)

    def seek(self, position: int) -> None:
        """Byte of the file that the next write overwrites."""
        self._position = position

    def write(self, buffer: bytes | memoryview) -> None:
        """Overwrite, and move on."""
        view = memoryview(buffer).cast("B")
        while view:
            written = os.pwrite(self._fd, view, self._position)
            self._position += written
            view = view[written:]
