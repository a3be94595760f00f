"""A file for writing past the page cache, which costs a core more than the disk's own writing does."""

import errno
import fcntl
import os
from pathlib import Path

FLUSH_BYTES = 32 * 1024 * 1024
"""How much may gather in the page cache, where it cannot be avoided, before the disk is told to write it."""


class DirectFile:
    """Writes of whole pages at whole pages go to the disk at once; all others go through the page cache."""

    def __init__(self, path: Path, *, new: bool) -> None:
        """A new file, or one that is there and gets a few bytes changed."""
        flags = os.O_WRONLY | os.O_CLOEXEC | (os.O_CREAT | os.O_TRUNC if new else 0)
        self._direct = new
        try:
            self._fd = os.open(path, flags | (os.O_DIRECT if new else 0), 0o644)
        except OSError as error:
            # A file system without direct I/O says so here.
            if error.errno != errno.EINVAL:
                raise
            self._direct = False
            self._fd = os.open(path, flags, 0o644)
        self._unflushed = 0

    def write(self, buffer: memoryview, position: int) -> None:
        """Write all of the buffer, whose memory begins at a page, at a byte of the file."""
        while buffer:
            written = self._pwrite(buffer, position)
            buffer, position = buffer[written:], position + written

    def _pwrite(self, buffer: memoryview, position: int) -> int:
        try:
            written = os.pwrite(self._fd, buffer, position)
        except OSError as error:
            if error.errno != errno.EINVAL or not self._direct:
                raise
            self._leave_direct()
            return 0
        if not self._direct:
            self._flush_early(written)
        return written

    def _leave_direct(self) -> None:
        """The rest is no whole page, as at the end of every file, or not what this file system calls one."""
        fcntl.fcntl(self._fd, fcntl.F_SETFL, fcntl.fcntl(self._fd, fcntl.F_GETFL) & ~os.O_DIRECT)
        self._direct = False

    def _flush_early(self, written: int) -> None:
        """Let the disk work while the file grows, and not only when all of it is to be made durable."""
        self._unflushed += written
        if self._unflushed >= FLUSH_BYTES:
            os.fdatasync(self._fd)
            self._unflushed = 0

    def sync(self) -> None:
        """Make what was written durable."""
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)
