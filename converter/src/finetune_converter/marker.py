"""The base's completion marker, written by the trainer's prepare stage (contract/README.md)."""

from pathlib import Path

from finetune_converter.failure import Failure, Reason
from finetune_converter.files.digest import FileDigest
from finetune_converter.files.json_object import read_json_object

MARKER = ".finetune-complete.json"
_REMEDY = "Run the prepare stage, which checks the base and marks it complete"


def require_marker(base: Path) -> None:
    """Raises Failure(BaseIncomplete) for a base that was not fetched and checked to its end."""
    if not (base / MARKER).is_file():
        raise Failure(f"{base / MARKER}: no such file", Reason.BASE_INCOMPLETE, _REMEDY)


def base_digests(base: Path) -> dict[str, FileDigest]:
    """sha256 and size of the base's files that are still as they were when the marker was written."""
    if not (base / MARKER).is_file():
        return {}
    files = read_json_object(base / MARKER, Reason.BASE_INCOMPLETE, _REMEDY).get("files")
    digests = {}
    for name, record in files.items() if isinstance(files, dict) else ():
        path, size = base / name, record.get("size")
        if record.get("sha256") and path.is_file() and _unchanged(path, size, record.get("modified")):
            digests[name] = FileDigest(sha256=record["sha256"], size=size)
    return digests


def _unchanged(path: Path, size: int, modified: int | None) -> bool:
    status = path.stat()
    return status.st_size == size and modified in (None, status.st_mtime_ns)
