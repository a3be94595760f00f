"""sha256 of many large files."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

THREADS = 8


def sha256(file: Path) -> str:
    """The hexadecimal sha256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def git_blob(file: Path) -> str:
    """The id that git gives the file's content (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects)."""
    digest = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: digest).hexdigest()


def sha256_all(files: Iterable[Path]) -> dict[Path, str]:
    """Of all files at once: hashlib leaves the interpreter lock while it reads."""
    files = list(files)
    with ThreadPoolExecutor(THREADS) as threads:
        return dict(zip(files, threads.map(sha256, files), strict=True))
