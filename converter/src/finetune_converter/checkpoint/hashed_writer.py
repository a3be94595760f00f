"""Writes one file once, hashing on a second thread what the first one writes."""

import hashlib
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

IN_FLIGHT = 4
"""Buffers that wait for the hash. Bounds memory; sha256 is the slower of the two on a fast disk."""


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
        self._waiting: deque[Future[None]] = deque()

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

    def finish(self) -> FileDigest:
        self._thread.shutdown(wait=True)
        os.fsync(self._fd)
        return FileDigest(sha256=self._hash.hexdigest(), size=self.size)

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
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
