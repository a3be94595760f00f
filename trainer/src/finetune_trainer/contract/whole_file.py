"""Files that appear whole or not at all: what crashes, the machine too, leaves the old one or the new one."""

import json
import os
from pathlib import Path


def write_json(file: Path, content: object) -> None:
    """Write JSON, and its folder where there is none."""
    write_text(file, json.dumps(content, indent=2) + "\n")


def write_text(file: Path, text: str) -> None:
    """Write in UTF-8, and its folder where there is none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    part.write_text(text, encoding="utf-8")
    sync(part)
    part.replace(file)
    sync(file.parent)


def sync(path: Path) -> None:
    """Return when the file or folder is on the disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
