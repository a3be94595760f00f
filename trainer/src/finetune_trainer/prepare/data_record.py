"""What the dataset's files were when a run was prepared from them: size and sha256 belong to the run."""

import json
from collections.abc import Mapping
from pathlib import Path

from finetune_trainer.contract.failure import DataError
from finetune_trainer.contract.run_file import RunFolders
from finetune_trainer.prepare.checksum import sha256, sha256_all
from finetune_trainer.prepare.marker import FileRecord

Records = Mapping[str, FileRecord]


def record_files(files: Mapping[str, Path]) -> Records:
    """Size, sha256 and time of every file, by its path in the volume."""
    # The time first: a file that is written to while it is hashed is then another one.
    times = {name: file.stat().st_mtime_ns for name, file in files.items()}
    checksums = sha256_all(files.values())
    return {
        name: FileRecord(size=file.stat().st_size, sha256=checksums[file], modified=times[name])
        for name, file in files.items()
    }


def recorded_files(folders: RunFolders) -> Records | None:
    """What the run was prepared from; None before it was, or if that does not say."""
    try:
        files = json.loads(folders.prepared.read_text(encoding="utf-8"))["dataset"]["files"]
        return {name: FileRecord(**record) for name, record in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def is_as_recorded(files: Mapping[str, Path], records: Records) -> bool:
    """Whether these are the recorded files, with the content they had."""
    return files.keys() == records.keys() and all(
        records[name].describes(file) or sha256(file) == records[name].sha256 for name, file in files.items()
    )


def require_untouched(files: Mapping[str, Path], records: Records) -> None:
    """Raises DataError if a file was written to since it was recorded."""
    for name, file in files.items():
        if not records[name].describes(file):
            raise DataError(
                f"{file}: changed while it was read", remedy="Run it again when nothing writes to the file"
            )


def require_data_of_training(folders: RunFolders, records: Records) -> None:
    """Raises DataError if the run has trained on other data than `records`: its results are not of these."""
    before = recorded_files(folders)
    if before is None or not _has_trained(folders):
        return
    for name in sorted({**before, **records}):
        then, now = _checksum(before, name), _checksum(records, name)
        if then != now:
            raise DataError(
                f"{folders.root / name} is not what this run has trained on (sha256 {then} then, {now} now)",
                remedy="To train on it give the FineTuneJob another name; to go on with this run put the "
                "file back",
            )


def _has_trained(folders: RunFolders) -> bool:
    return folders.adapter.exists() or any(folders.checkpoints.glob("step-*"))


def _checksum(records: Records, name: str) -> str:
    return records[name].sha256[:12] if name in records else "no such file"
