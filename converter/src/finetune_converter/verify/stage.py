"""The verify stage, of a run or of folders given one by one: the gate that publishes."""

import json
import logging
from pathlib import Path
from typing import Any

from finetune_converter.failure import Failure, Reason
from finetune_converter.files.atomic import publish, write_json
from finetune_converter.files.json_object import read_json_object
from finetune_converter.marker import require_marker
from finetune_converter.merge.job import MergeJob
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.model_files.manifest import NAME
from finetune_converter.progress import Progress, serve_progress
from finetune_converter.run import load_run
from finetune_converter.verify.prompts import random_prompts, training_prompts
from finetune_converter.verify.verify import verify

logger = logging.getLogger(__name__)


def verify_run(run_file: Path, root: Path) -> None:
    """The gate: check the run's merging/ and rename it to merged/."""
    run = load_run(run_file, root)
    if run.merged.exists():
        return
    require_marker(run.base)
    progress = Progress("verify")
    with serve_progress(progress):
        config = read_json_object(run.base / "config.json", Reason.BASE_INVALID, "Fetch the base again")
        prompts = training_prompts(run.dataset, run.dataset_format, run.base, config["vocab_size"])
        job = MergeJob(base=run.base, adapter=run.adapter, out=run.merging, dtype=run.dtype)
        measured = _verify_or_reject(job, prompts, progress)
    write_json(run.folder / "verification.json", measured)
    publish(run.merging, run.merged)
    logger.info("verified: %s", json.dumps(measured["logits"]))


def _verify_or_reject(job: MergeJob, prompts: list[list[int]], progress: Progress) -> dict[str, Any]:
    """What the gate measured. A merge that fails loses its manifest: the merge stage makes it anew."""
    try:
        return verify(job, prompts, progress.advance)
    except Failure as failure:
        if failure.reason is Reason.VERIFICATION_FAILED:
            (job.out / NAME).unlink(missing_ok=True)
        raise


def verify_folders(*, base: Path, adapter: Path, merged: Path, dtype: Dtype) -> str:
    """Check a merged folder; what was measured, as JSON."""
    config = read_json_object(base / "config.json", Reason.BASE_INVALID, "Fetch the base again")
    job = MergeJob(base=base, adapter=adapter, out=merged, dtype=dtype)
    return json.dumps(verify(job, random_prompts(config["vocab_size"])), indent=2)
