"""MANIFEST.json: the sha256 of every file, and what they were made of."""

import hashlib
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from finetune_converter.failure import Failure, Reason
from finetune_converter.files.atomic import write_json
from finetune_converter.files.digest import FileDigest
from finetune_converter.files.json_object import read_json_object

NAME = "MANIFEST.json"
SIGNATURE = "model.sig"
"""Of MANIFEST.json and of the files in it; OpenSSF Model Signing's name."""


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Where the merged weights come from."""

    base: str
    base_revision: str | None
    base_marker_sha256: str | None
    """Of the base's completion marker, which holds the sha256 of every file of the base."""
    adapter_sha256: str
    dtype: str
    run: dict[str, Any] | None = None
    """The run file; None outside a run."""
    dataset_sha256: str | None = None
    selection: dict[str, Any] | None = None
    """The step that was exported, and why, as selection.json has it; None where nobody says."""
    evaluation: tuple[dict[str, Any], ...] = ()
    """What base and merged model reached in each task; empty where nothing was asked."""
    training: tuple[dict[str, Any], ...] = ()
    """The first logged step and the exported one, as metrics.jsonl has them."""


def lineage_content(lineage: Lineage) -> dict[str, Any]:
    """As MANIFEST.json has it."""
    evaluation = {"evaluation": [*lineage.evaluation]} if lineage.evaluation else {}
    return {
        "base": {
            "uri": lineage.base,
            "revision": lineage.base_revision,
            "markerSha256": lineage.base_marker_sha256,
        },
        "adapterSha256": lineage.adapter_sha256,
        "datasetSha256": lineage.dataset_sha256,
        "dtype": lineage.dtype,
        "run": lineage.run,
        "selection": lineage.selection,
        "training": [*lineage.training],
        **evaluation,
    }


def lineage_from(content: dict[str, Any]) -> Lineage:
    """Of MANIFEST.json. Raises KeyError or TypeError for what is none."""
    base = content["base"]
    return Lineage(
        base=base["uri"],
        base_revision=base["revision"],
        base_marker_sha256=base["markerSha256"],
        adapter_sha256=content["adapterSha256"],
        dtype=content["dtype"],
        run=content["run"],
        dataset_sha256=content["datasetSha256"],
        selection=content["selection"],
        training=tuple(content["training"]),
        evaluation=tuple(content.get("evaluation", ())),
    )


def tool_version() -> str:
    """Of the converter that is installed."""
    return version("finetune-converter")


def write_manifest(folder: Path, lineage: Lineage, inputs: str, files: dict[str, FileDigest]) -> None:
    """Written last: a folder that has it is whole."""
    content = {
        "schemaVersion": 1,
        "tool": {"name": "finetune-convert", "version": tool_version()},
        "inputs": inputs,
        "lineage": lineage_content(lineage),
        "files": {name: asdict(digest) for name, digest in sorted(files.items())},
    }
    write_json(folder / NAME, content)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Raises Failure(MergeMissing) when the merge has not finished."""
    if not (folder / NAME).is_file():
        raise Failure(f"{folder / NAME}: no such file", Reason.MERGE_MISSING, "Let the merge finish first")
    return read_json_object(folder / NAME, Reason.VERIFICATION_FAILED, "Delete the folder and merge again")


def listed_files(folder: Path) -> dict[str, FileDigest]:
    """The files of a merged folder by name. Raises Failure for a manifest that lists none."""
    listed = read_manifest(folder).get("files")
    if not isinstance(listed, dict) or not listed:
        raise _invalid(folder, "it lists no files")
    return {name: _digest(folder, name, record) for name, record in listed.items()}


def _digest(folder: Path, name: str, record: Any) -> FileDigest:
    sha256, size = (record.get("sha256"), record.get("size")) if isinstance(record, dict) else (None, None)
    parts = name.split("/")
    if not all(parts) or {".", ".."} & set(parts) or "\\" in name:
        raise _invalid(folder, f"{name!r} is not the name of a file in this folder")
    if not isinstance(sha256, str) or type(size) is not int:
        raise _invalid(folder, f"{name!r} has no sha256 and size")
    return FileDigest(sha256=sha256, size=size)


def _invalid(folder: Path, fault: str) -> Failure:
    return Failure(f"{folder / NAME}: {fault}", Reason.VERIFICATION_FAILED, "Merge again")


def sha256_of(path: Path) -> str | None:
    """Of a small file; None when it is not there."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
