"""The merge stage, of a run or of folders given one by one."""

from importlib.metadata import version
from pathlib import Path

from finetune_converter.failure import Failure, Reason
from finetune_converter.marker import MARKER, require_marker
from finetune_converter.merge.dtypes import Dtype
from finetune_converter.merge.manifest import Lineage, sha256_of
from finetune_converter.merge.merge import Part, adapter_digest, default_workers, merge, publish
from finetune_converter.merge.resume import MergeJob
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
    if whole and not run.verify:
        publish(run.merging, run.merged)


def merge_folders(
    *, base: Path, adapter: Path, out: Path, dtype: Dtype, workers: int, part: Part | None = None
) -> None:
    """Merge into `out`, which appears by one rename; with `part`, write only that part's files."""
    if out.exists():
        raise Failure(Reason.SETTING_INVALID, f"--out: {out} is there already", "Give a new folder")
    partial = out.with_name(f"{out.name}.merging")
    job = MergeJob(base=base, adapter=adapter, out=partial, dtype=dtype)
    marker = base / MARKER
    lineage = Lineage(
        base=str(base),
        base_revision=None,
        base_marker_sha256=sha256_of(marker),
        adapter_sha256=adapter_digest(adapter),
        dtype=str(dtype),
        run=None,
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
    )
