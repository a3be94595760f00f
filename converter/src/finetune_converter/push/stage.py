"""The push stage of a run."""

from pathlib import Path

from finetune_converter.failure import Failure, Reason
from finetune_converter.files.atomic import write_json
from finetune_converter.files.digest import digest_file
from finetune_converter.files.json_object import read_record
from finetune_converter.model_files.manifest import NAME
from finetune_converter.progress import Progress, serve_progress
from finetune_converter.push.push import OciFormat, push_model
from finetune_converter.run import load_run

PUSHED = "pushed.json"
"""What was pushed and where it is, in the run's folder."""


def push_run(run_file: Path, root: Path) -> None:
    """Push merged/ to where the run file says. Done already, of the same manifest, it returns at once."""
    run = load_run(run_file, root)
    if run.push is None:
        raise Failure(f"{run_file}: export.push is null", Reason.RUN_FILE_INVALID, "Set export.push.uri")
    if not (run.merged / NAME).is_file():
        raise Failure(
            f"{run.merged / NAME}: no such file", Reason.MERGE_MISSING, "Let the merge finish first"
        )
    pushed = {
        "uri": run.push,
        "format": run.push_format,
        "manifestSha256": digest_file(run.merged / NAME).sha256,
    }
    if pushed.items() <= read_record(run.folder / PUSHED).items():
        return
    with serve_progress(Progress("push")):
        place = push_model(run.merged, run.push, OciFormat(run.push_format))
    write_json(run.folder / PUSHED, {**pushed, "place": place})
