"""What an interrupted merge left, and whether it was a merge of the same inputs: only then is it kept."""

import hashlib
import json
import shutil
from collections.abc import Container
from importlib.metadata import version
from pathlib import Path

from finetune_converter.adapter.config import CONFIG
from finetune_converter.adapter.tokenizer import tokenizer_files
from finetune_converter.files.atomic import write_json
from finetune_converter.files.digest import FileDigest
from finetune_converter.files.json_object import read_record
from finetune_converter.merge.job import MergeJob
from finetune_converter.model_files.manifest import NAME

FOLDER = ".done"
"""One record for every finished file."""


def inputs_digest(job: MergeJob, adapter_sha256: str) -> str:
    """sha256 of what decides the merged bytes: adapter, dtype, tool, the base's files and the tokenizer's."""
    config = job.adapter / CONFIG
    files = [
        (file.name, file.stat().st_size, file.stat().st_mtime_ns)
        for file in [
            *_files_of(job.base),
            *(job.adapter / name for name in sorted(tokenizer_files(job.adapter))),
        ]
    ]
    inputs = [
        version("finetune-converter"),
        str(job.dtype),
        adapter_sha256,
        config.read_text(encoding="utf-8", errors="replace") if config.is_file() else None,
        files,
    ]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def _files_of(folder: Path) -> list[Path]:
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [file for file in files if file.is_file() and not file.name.startswith(".")]


def is_whole(folder: Path, inputs: str) -> bool:
    """Whether the folder is a finished merge of these inputs. One of other inputs loses its manifest."""
    manifest = folder / NAME
    if not manifest.is_file():
        return False
    if read_record(manifest).get("inputs") == inputs:
        return True
    manifest.unlink()
    return False


def finished(folder: Path, name: str, inputs: str) -> FileDigest | None:
    """The digest of a file that an earlier merge of the same inputs finished."""
    content = read_record(folder / FOLDER / f"{name}.json")
    size, sha256 = content.get("size"), content.get("sha256")
    if content.get("inputs") != inputs or not isinstance(size, int) or not isinstance(sha256, str):
        return None
    file = folder / name
    return FileDigest(sha256=sha256, size=size) if file.is_file() and file.stat().st_size == size else None


def record(folder: Path, name: str, inputs: str, digest: FileDigest) -> None:
    """Say that a file is finished: its bytes are on the disk."""
    content = {"sha256": digest.sha256, "size": digest.size, "inputs": inputs}
    write_json(folder / FOLDER / f"{name}.json", content)


def remove_strangers(folder: Path, names: Container[str]) -> None:
    """Remove the records and what other merges or a crash left: the manifest lists all there is."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in names:
            path.unlink()
