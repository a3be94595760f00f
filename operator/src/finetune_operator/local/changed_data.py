"""Whether a job's dataset is still what its run is of: prepare wrote the sha256 of every file down."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.objects import Manifest
from finetune_operator.core.run import build_run_file


def changed_data_notice(storage: Path, job: Manifest) -> str:
    """Return what to tell of a job whose dataset has changed since it was prepared; empty if it has not.

    A file that is gone has not changed: a model outlives its data.
    """
    run = build_run_file(FineTuneJob.model_validate(job))
    local = [source.path for source in run.dataset.sources if "://" not in source.uri]
    places = [place for path in local for place in sorted(storage.glob(path))]
    changed = list(_changed(storage, places, storage / run.paths.run / "prepared.json"))
    if not changed:
        return ""
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    return (
        f"FineTuneJob {job['metadata']['name']}: {changed[0]}{more} has changed since the run was prepared; "
        "the run, and what comes of it, is of the data as it was. To train on it as it is now, give the job "
        "another name (metadata.name); to be rid of this line, put the file back"
    )


def _changed(storage: Path, places: Sequence[Path], prepared: Path) -> Iterator[str]:
    """Yield the recorded files that are others now, and those that are new at the places of the data."""
    try:
        since = prepared.stat().st_mtime_ns
        records: dict[str, dict[str, Any]] = json.loads(prepared.read_text())["dataset"]["files"]
        for name, record in records.items():
            file = storage / name
            if file.is_file() and not _is_as_recorded(file, record):
                yield str(file)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    suffixes = {Path(name).suffix for name in records}
    for file in (file for place in places for file in ([place] if place.is_file() else _below(place))):
        is_new = str(file.relative_to(storage)) not in records and file.suffix in suffixes
        if is_new and file.is_file() and file.stat().st_mtime_ns > since:
            yield str(file)


def _below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def _is_as_recorded(file: Path, record: dict[str, Any]) -> bool:
    found = file.stat()
    if (found.st_size, found.st_mtime_ns) == (record["size"], record["modified"]):
        return True
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == str(record["sha256"])
