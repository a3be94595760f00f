"""The merge stage, of a run or of folders given one by one."""

import hashlib
import json
import math
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from finetune_converter.failure import Failure, Reason
from finetune_converter.files.atomic import publish
from finetune_converter.files.digest import digest_file
from finetune_converter.files.json_object import read_record
from finetune_converter.marker import MARKER, require_marker
from finetune_converter.merge.job import MergeJob
from finetune_converter.merge.merge import Part, adapter_digest, default_workers, merge
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.model_files.manifest import Lineage, sha256_of
from finetune_converter.progress import Progress, serve_progress
from finetune_converter.run import Run, load_run


def merge_run(run_file: Path, root: Path, part: Part | None = None) -> None:
    """Merge into the run's merging/; publish it at once when the run asks for no verification.

    With `part`, write only that part's files; the merge without it completes the folder.
    """
    run = load_run(run_file, root)
    if run.merged.exists():
        return
    require_marker(run.base)
    progress = Progress("merge")
    with serve_progress(progress):
        whole = merge(
            _job(run), _lineage(run), workers=default_workers(), part=part, advance=progress.advance
        )
    if whole and not run.verify and run.evaluation is None:
        publish(run.merging, run.merged)


def merge_folders(
    *, base: Path, adapter: Path, out: Path, dtype: Dtype, workers: int, part: Part | None = None
) -> None:
    """Merge into `out`, which appears by one rename; with `part`, write only that part's files."""
    if out.exists():
        raise Failure(f"--out: {out} is there already", Reason.SETTING_INVALID, "Give a new folder")
    partial = out.with_name(f"{out.name}.merging")
    job = MergeJob(base=base, adapter=adapter, out=partial, dtype=dtype)
    marker = base / MARKER
    lineage = Lineage(
        base=str(base.absolute()),
        base_revision=None,
        base_marker_sha256=sha256_of(marker),
        adapter_sha256=adapter_digest(adapter),
        dtype=str(dtype),
    )
    if merge(job, lineage, workers=workers, part=part):
        publish(partial, out)


def _job(run: Run) -> MergeJob:
    return MergeJob(base=run.base, adapter=run.adapter, out=run.merging, dtype=run.dtype)


def _lineage(run: Run) -> Lineage:
    model = run.document["model"]
    return Lineage(
        base=model["uri"],
        base_revision=model.get("revision"),
        base_marker_sha256=sha256_of(run.base / MARKER),
        adapter_sha256=adapter_digest(run.adapter),
        dtype=str(run.dtype),
        run={**run.document, "converter": version("finetune-converter")},
        dataset_sha256=_dataset_digest(run.datasets),
        selection=read_record(run.folder / "selection.json") or None,
        training=_first_and_exported(run.folder),
    )


def _dataset_digest(datasets: Sequence[Path]) -> str | None:
    """sha256 of the file; of folders, or of several, the sha256 of the files' names and sha256."""
    if len(datasets) == 1 and datasets[0].is_file():
        return digest_file(datasets[0]).sha256
    listed = [
        (str(path.relative_to(dataset)), digest_file(path).sha256)
        for dataset in datasets
        for path in ([dataset] if dataset.is_file() else sorted(dataset.rglob("*")))
        if path.is_file()
    ]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest() if listed else None


def _first_and_exported(folder: Path) -> tuple[dict[str, Any], ...]:
    """The logged steps that have a loss: the first, and the last up to the step that was exported."""
    metrics = folder / "metrics.jsonl"
    if not metrics.is_file():
        return ()
    exported = read_record(folder / "selection.json").get("step", math.inf)
    lines = (line for line in metrics.read_text(encoding="utf-8").splitlines() if line.startswith("{"))
    logged = [record for line in lines if "loss" in (record := _parsed(line)) and "step" in record]
    steps = [record for record in logged if record["step"] <= exported]
    return tuple(steps[:1] + steps[1:][-1:])


def _parsed(line: str) -> dict[str, Any]:
    """Empty for a line that a crash cut off."""
    try:
        content: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return content if isinstance(content.get("loss"), float) else {}
