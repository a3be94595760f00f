"""SHA-256 of files."""

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class FileDigest:
    sha256: str
    size: int


def digest_file(path: Path, chunk_bytes: int = 8 * 1024 * 1024) -> FileDigest:
    """SHA-256 and size of a file, reading it once."""
    digest, size = hashlib.sha256(), 0
    buffer = bytearray(chunk_bytes)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(memoryview(buffer)[:count])
            size += count
    return FileDigest(sha256=digest.hexdigest(), size=size)
