"""The folder of a checkpoint: it appears by one rename, with a checksum of every file."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from finetune_trainer.contract import whole_file
from finetune_trainer.contract.failure import CheckpointError

CHECKSUMS = "checksums.json"
STATE = "state.json"
RANDOM_STATE = "random.safetensors"

Best = Callable[[Collection[int]], int | None]


def step_folder(folder: Path, step: int) -> Path:
    return folder / f"step-{step}"


def staging_folder(folder: Path, step: int) -> Path:
    """Where a checkpoint is written before it has its name; left over if the writer dies."""
    return folder / f".step-{step}.partial"


def saved_steps(folder: Path) -> list[int]:
    """The steps with a checkpoint, newest first, valid or not."""
    if not folder.is_dir():
        return []
    matches = (re.fullmatch(r"step-(\d+)", entry.name) for entry in folder.iterdir())
    return sorted((int(match[1]) for match in matches if match), reverse=True)


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def publish(staging: Path, final: Path, checksums: Mapping[str, str]) -> None:
    """Write the checksums and give the folder its name. A folder of that name is replaced.

    Raises OSError when the volume refuses.
    """
    (staging / CHECKSUMS).write_text(json.dumps(dict(sorted(checksums.items())), indent=2) + "\n")
    rename_durably(staging, final)


def rename_durably(staging: Path, final: Path) -> None:
    """Give a finished folder its name, so that a crash leaves either none or all of it."""
    for file in staging.iterdir():
        whole_file.sync(file)
    whole_file.sync(staging)
    if final.exists():
        shutil.rmtree(final)
    staging.rename(final)
    whole_file.sync(final.parent)


def verify(checkpoint: Path) -> None:
    """Raise CheckpointError, naming the file, unless the checkpoint is whole."""
    try:
        checksums: dict[str, str] = json.loads((checkpoint / CHECKSUMS).read_text())
    except (OSError, ValueError) as error:
        raise _invalid(checkpoint / CHECKSUMS, "is missing or unreadable") from error
    for name, expected in checksums.items():
        file = checkpoint / name
        if not file.is_file():
            raise _invalid(file, "is missing")
        if sha256(file) != expected:
            raise _invalid(file, "does not match its checksum")


def prune(
    folder: Path, keep: int, *, unreadable: Collection[int] = (), best: Best = lambda _whole: None
) -> None:
    """Delete all but the newest `keep` checkpoints and the best one, and what unfinished writes left.

    best: which of the whole ones is kept, however old it is.
    """
    whole = [step for step in saved_steps(folder) if step not in unreadable]
    kept = best(whole)
    for step in [*unreadable, *(step for step in whole[keep:] if step != kept)]:
        shutil.rmtree(step_folder(folder, step), ignore_errors=True)
    for leftover in folder.glob(".step-*.partial"):
        shutil.rmtree(leftover, ignore_errors=True)


def _invalid(file: Path, problem: str) -> CheckpointError:
    return CheckpointError(
        f"{file} {problem}", remedy="Delete this checkpoint; the run goes on from one before it"
    )
