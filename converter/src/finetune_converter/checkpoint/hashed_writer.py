"""Writes one file once, hashing on a second thread what the first one writes."""

import hashlib
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

IN_FLIGHT = 4
"""Buffers that wait for the hash. Bounds memory; sha256 is the slower of the two on a fast disk."""
FLUSH_BYTES = 32 * 1024 * 1024
"""How much may gather before the disk is told to write it."""


@dataclass(frozen=True, kw_only=True)
class FileDigest:
    sha256: str
    size: int


class HashedWriter:
    """A new file at `path`, durable when `finish` returns. SHA-256 and write(2) both run without the GIL."""

    def __init__(self, path: Path) -> None:
        self.size = 0
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._hash = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sha256")
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="fdatasync")
        self._waiting: deque[Future[None]] = deque()
        self._flushing: Future[None] | None = None
        self._flushed = 0

    def write(self, buffer: bytes | memoryview) -> None:
        """Append. The buffer must not change afterwards: the hash may read it later."""
        if len(self._waiting) >= IN_FLIGHT:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._hash.update, buffer))
        view = memoryview(buffer).cast("B")
        while view:
            written = os.write(self._fd, view)
            self.size += written
            view = view[written:]
        self._flush_early()

    def _flush_early(self) -> None:
        """Let the disk work while the file grows, and not only when all of it is to be made durable."""
        if self.size - self._flushed < FLUSH_BYTES or (self._flushing and not self._flushing.done()):
            return
        self._raise_if_not_flushed()
        self._flushed = self.size
        self._flushing = self._disk.submit(os.fdatasync, self._fd)

    def _raise_if_not_flushed(self) -> None:
        # Linux tells a failed write-back once: the fsync at the end would not hear of it again.
        if self._flushing:
            self._flushing.result()

    def finish(self) -> FileDigest:
        self._thread.shutdown(wait=True)
        self._raise_if_not_flushed()
        os.fsync(self._fd)
        return FileDigest(sha256=self._hash.hexdigest(), size=self.size)

    def close(self) -> None:
        for pool in (self._thread, self._disk):
            pool.shutdown(wait=True, cancel_futures=True)
        os.close(self._fd)


def digest_file(path: Path, chunk_bytes: int = 8 * 1024 * 1024) -> FileDigest:
    """SHA-256 and size of a file, reading it once."""
    digest, size = hashlib.sha256(), 0
    buffer = bytearray(chunk_bytes)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(memoryview(buffer)[:count])
            size += count
    return FileDigest(sha256=digest.hexdigest(), size=size)
