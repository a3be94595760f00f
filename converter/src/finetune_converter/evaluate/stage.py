"""The evaluate stage of a run: ask, score, compare with what is required, and release what reaches it."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune_converter.evaluate.answers import BASE, TUNED, Asked, collect_answers
from finetune_converter.evaluate.record import record_scores
from finetune_converter.evaluate.report import show_in_report
from finetune_converter.evaluate.score import Score, require, scores_of
from finetune_converter.evaluate.task import TOOL_CALL, Task, load_tasks
from finetune_converter.failure import Failure, Reason, tell
from finetune_converter.files.atomic import publish, write_json
from finetune_converter.marker import require_marker
from finetune_converter.model_files.manifest import NAME
from finetune_converter.progress import Progress, serve_progress
from finetune_converter.run import VERIFICATION, Run, load_run
from finetune_converter.signing.model_signature import key_of_the_run, sign_folder

logger = logging.getLogger(__name__)

EVALUATION = "evaluation.json"
"""The figures, in the run's folder; the answers are in evaluation/."""


def evaluate_run(run_file: Path, root: Path, arguments: Sequence[str]) -> None:
    """Evaluate the run's merging/ and rename it to merged/, or raise Failure(EvaluationFailed).

    arguments: of vLLM's server. A model that is released already is asked all the same, and left as it is.
    """
    run = load_run(run_file, root)
    if run.evaluation is None:
        raise Failure(f"{run_file}: evaluation is null", Reason.RUN_FILE_INVALID, "Set evaluation.tasks")
    model, folder = _model(run), run.folder / "evaluation"
    require_marker(run.base)
    tasks = load_tasks(run.evaluation, folder, root.absolute())
    _require_parser(tasks, arguments)
    # Before the work: a key that cannot be read is known at once.
    key = key_of_the_run() if run.sign and model == run.merging else None
    asked = Asked(
        models={BASE: run.base, TUNED: model},
        arguments=arguments,
        at_once=run.document["workers"]["device"] == "cpu",
        folder=folder,
    )
    progress = Progress("evaluate")
    with serve_progress(progress):
        scores = scores_of(tasks, collect_answers(asked, tasks, progress.advance))
    told = _write(run, scores)
    require(scores, str(folder.relative_to(root)))
    if model == run.merging:
        record_scores(model, told)
        if key:
            sign_folder(model, key)
        publish(model, run.merged)
    tell({"evaluation": [*told]})


def _model(run: Run) -> Path:
    """The merged model, whole and through the gate where one is asked for."""
    if run.merged.exists():
        return run.merged
    needed = run.folder / VERIFICATION if run.verify else run.merging / NAME
    if not (run.merging / NAME).is_file() or not needed.is_file():
        missing = needed if not needed.is_file() else run.merging / NAME
        raise Failure(f"{missing}: no such file", Reason.MERGE_MISSING, "Let the stages before finish first")
    return run.merging


def _require_parser(tasks: Sequence[Task], arguments: Sequence[str]) -> None:
    """Raises Failure where the server would leave calls in the text, and every answer were wrong."""
    named = any("tool-call-parser" in argument.replace("_", "-") for argument in arguments)
    for task in tasks:
        if task.metric == TOOL_CALL and not named:
            raise Failure(
                f"evaluation.tasks {task.name}: which parser finds tool calls of this base is not known",
                Reason.EVALUATION_INVALID,
                "Set deployment.engineArgs: [--enable-auto-tool-choice, --tool-call-parser=NAME]",
            )


def _write(run: Run, scores: Sequence[Score]) -> tuple[dict[str, Any], ...]:
    told = tuple(score.to_json() for score in scores)
    short = [score.task for score in scores if score.falls_short]
    show_in_report(run.folder / "report.html", scores)
    write_json(run.folder / EVALUATION, {"schemaVersion": 1, "tasks": [*told], "fallsShort": short})
    for score in scores:
        logger.info("evaluated: %s, of %d rows", score.sentence, score.rows)
    return told
