"""The verify stage, of a run or of folders given one by one: the gate that publishes."""

import json
import logging
from pathlib import Path
from typing import Any

from finetune_converter.failure import Failure, Reason
from finetune_converter.files.atomic import publish, write_json
from finetune_converter.files.json_object import read_json_object
from finetune_converter.marker import require_marker
from finetune_converter.model_files.manifest import NAME
from finetune_converter.progress import Progress, serve_progress
from finetune_converter.run import VERIFICATION, load_run
from finetune_converter.signing.model_signature import key_of_the_run, sign_folder
from finetune_converter.verify.prompts import random_prompts, training_prompts
from finetune_converter.verify.verify import Claim, verify

logger = logging.getLogger(__name__)


def verify_run(run_file: Path, root: Path) -> None:
    """The gate: check the run's merging/ and rename it to merged/, but where the evaluation is to do so."""
    run = load_run(run_file, root)
    if run.merged.exists():
        return
    require_marker(run.base)
    # Before the work: a key that cannot be read is known at once.
    key = key_of_the_run() if run.sign and run.evaluation is None else None
    progress = Progress("verify")
    with serve_progress(progress):
        prompts = training_prompts(run.datasets, run.base, _vocabulary(run.base))
        claim = Claim(
            base=run.base,
            adapter=run.adapter,
            merged=run.merging,
            dtype=str(run.dtype),
            run=run.document,
        )
        measured = _verify_or_reject(claim, prompts, progress)
    write_json(run.folder / VERIFICATION, measured)
    if key:
        sign_folder(run.merging, key)
    if run.evaluation is None:
        publish(run.merging, run.merged)
    logger.info("verified: %s", json.dumps(measured["logits"]))


def _verify_or_reject(claim: Claim, prompts: list[list[int]], progress: Progress) -> dict[str, Any]:
    """What the gate measured. A merge that fails loses its manifest: the merge stage makes it anew."""
    try:
        return verify(claim, prompts, progress.advance)
    except Failure as failure:
        if failure.reason is Reason.VERIFICATION_FAILED:
            (claim.merged / NAME).unlink(missing_ok=True)
        raise


def verify_folders(*, base: Path, adapter: Path, merged: Path, dtype: str) -> str:
    """Check a merged folder; what was measured, as JSON."""
    claim = Claim(base=base, adapter=adapter, merged=merged, dtype=str(dtype))
    return json.dumps(verify(claim, random_prompts(_vocabulary(base))), indent=2)


def _vocabulary(base: Path) -> int:
    config = read_json_object(base / "config.json", Reason.BASE_INVALID, "Fetch the base again")
    size = config.get("vocab_size")
    if type(size) is not int or size < 1:
        raise Failure(
            f"{base / 'config.json'}: vocab_size is {size!r}", Reason.BASE_INVALID, "Fetch the base again"
        )
    return size
