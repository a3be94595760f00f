"""Fetch files of a source into a folder of the volume: enough space first, resumed, checked afterwards."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from finetune_trainer.contract.failure import Reason, StorageError
from finetune_trainer.prepare.checksum import git_blob, sha256_all
from finetune_trainer.prepare.source import Listing, RemoteFile, Source, corrupted

logger = logging.getLogger(__name__)
# The hub's client needs a little for its own records.
SPARE_BYTES = 64 * 2**20


def fetch(source: Source, listing: Listing, files: Sequence[RemoteFile], folder: Path) -> dict[str, str]:
    """Have every one of `files` in `folder`, whole; their sha256 by name.

    What is there already is checked and kept. A file that came damaged is fetched once more. Raises
    StorageError if the volume is too full, CommunicationError if the source cannot be reached or keeps
    sending something else.
    """
    missing = [file for file in files if _size(folder / file.name) != file.size]
    check_space(folder, sum(file.size for file in missing), source.uri)
    if missing:
        logger.info("fetching %d files of %s", len(missing), source.uri)
        source.download(missing, listing.revision, folder)
    checksums, damaged = _check(files, folder)
    if damaged:
        logger.warning("fetching again: %s", ", ".join(file.name for file in damaged))
        source.download(damaged, listing.revision, folder)
        again, damaged = _check(damaged, folder)
        checksums |= again
    if damaged:
        raise corrupted(f"{source.uri}: {damaged[0].name}")
    return checksums


def check_space(folder: Path, needed: int, uri: str) -> None:
    """Raises StorageError if the volume of `folder` cannot take `needed` bytes more."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed and needed + SPARE_BYTES > free:
        raise StorageError(
            f"{folder}: {uri} needs {needed:,} bytes more, the volume has {free:,} free",
            Reason.STORAGE_FULL,
            remedy="Free space or enlarge the volume; what was fetched is kept",
        )


def _check(files: Sequence[RemoteFile], folder: Path) -> tuple[dict[str, str], list[RemoteFile]]:
    """Checksums by name, and the files that are not what the source has. Those are removed."""
    found = sha256_all(folder / file.name for file in files if (folder / file.name).is_file())
    damaged = [file for file in files if not _is_whole(file, folder, found)]
    for file in damaged:
        (folder / file.name).unlink(missing_ok=True)
    return {str(path.relative_to(folder)): checksum for path, checksum in found.items()}, damaged


def _is_whole(file: RemoteFile, folder: Path, checksums: dict[Path, str]) -> bool:
    path = folder / file.name
    if _size(path) != file.size:
        return False
    if file.blob is not None and git_blob(path) != file.blob:
        return False
    return file.sha256 is None or checksums[path] == file.sha256


def _size(file: Path) -> int | None:
    return file.stat().st_size if file.is_file() else None
