"""The marker of a folder that is complete: what is in it, where it came from, and the files' checksums."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from finetune_trainer.contract.failure import DataError, Reason
from finetune_trainer.contract.whole_file import write_json

MARKER = ".finetune-complete.json"


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    size: int
    sha256: str
    modified: int
    """Nanoseconds; a file with another time is hashed again."""

    def describes(self, file: Path) -> bool:
        """Whether `file` is as it was, by size and time."""
        try:
            found = file.stat()
        except OSError:
            return False
        return (found.st_size, found.st_mtime_ns) == (self.size, self.modified)


@dataclass(frozen=True, kw_only=True)
class Marker:
    source: str
    revision: str | None
    files: Mapping[str, FileRecord]

    def describes(self, folder: Path) -> bool:
        return all(record.describes(folder / name) for name, record in self.files.items())

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(record.size for record in self.files.values())

    def write(self, folder: Path) -> None:
        """Write it into `folder`; it appears whole or not at all."""
        content = {
            "schemaVersion": 1,
            "source": self.source,
            "revision": self.revision,
            "files": {name: asdict(record) for name, record in sorted(self.files.items())},
        }
        write_json(folder / MARKER, content)


def read_marker(folder: Path) -> Marker | None:
    """The folder's marker; None if it has none that can be read."""
    try:
        content = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        files = {name: FileRecord(**record) for name, record in content["files"].items()}
        return Marker(source=content["source"], revision=content["revision"], files=files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def require_complete(folder: Path) -> Marker:
    """The marker of a base that can be trained on. Raises DataError if the folder is not complete."""
    marker = read_marker(folder)
    if marker is None:
        raise DataError(
            f"{folder}: not a complete base model ({MARKER} is missing)",
            Reason.BASE_INCOMPLETE,
            remedy="Run prepare, which fetches or checks it",
        )
    missing = [name for name, record in marker.files.items() if not _has_size(folder / name, record.size)]
    if missing:
        raise DataError(
            f"{folder / missing[0]}: missing, or changed since prepare checked it",
            Reason.BASE_INCOMPLETE,
            remedy="Run prepare again",
        )
    return marker


def _has_size(file: Path, size: int) -> bool:
    return file.is_file() and file.stat().st_size == size
