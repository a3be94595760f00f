"""Files and folders that appear whole or not at all: written beside, made durable, and renamed.

One policy for all that the converter leaves behind: what has its final name has its bytes on the disk. A file
is synced before its rename, and a folder's entries are synced when the folder is published.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """UTF-8."""
    _appear(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_json(path: Path, content: object) -> None:
    """Indented, as people read it."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def copy_file(source: Path, target: Path) -> None:
    """The bytes, not the link nor the mode of the source."""
    _appear(target, lambda part: shutil.copyfile(source, part))


def publish(part: Path, folder: Path) -> None:
    """Let a folder appear by one rename, after the names of its files are durable."""
    sync(part)
    part.rename(folder)
    sync(folder.parent)


def _appear(path: Path, write: Callable[[Path], object]) -> None:
    part = path.with_name(f".{path.name}.part")
    write(part)
    sync(part)
    part.replace(path)


def sync(path: Path) -> None:
    """Make a file's bytes, or a folder's entries, durable."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
