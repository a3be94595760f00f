"""The status of a FineTuneJob, computed from what was observed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from finetune_operator.api.job import FineTuneJob
from finetune_operator.api.run_file import RunFile
from finetune_operator.core.capacity.base_model import architecture_status
from finetune_operator.core.conditions import Condition, set_conditions, timestamp
from finetune_operator.core.objects import Manifest, without_empty
from finetune_operator.finetune.conditions import job_phase
from finetune_operator.finetune.course import Course
from finetune_operator.finetune.observed import Observed, ObservedProgress
from finetune_operator.finetune.stages import Stage
from finetune_operator.finetune.step import Complete, Step


def previous_status(job: FineTuneJob) -> dict[str, Any]:
    """Return the status that the job carries, as YAML has it."""
    return job.status.to_dict() if job.status else {}


def build_status(
    job: FineTuneJob,
    run_file: RunFile,
    course: Course,
    step: Step,
    conditions: Sequence[Condition],
    observed: Observed,
    now: datetime,
) -> Manifest:
    """Return the whole status."""
    before = previous_status(job)
    generation = job.metadata.generation
    started = [j.started_at for j in course.jobs if j.started_at]
    if course.memory.started_at:
        started.append(course.memory.started_at)
    run_folder = run_file.paths.run
    status = {
        "observedGeneration": generation,
        "phase": job_phase(step),
        "run": run_file.run,
        "stage": None if isinstance(step, Complete) else step.stage.value,
        "restarts": course.restarts,
        "startTime": timestamp(min(started)) if started else None,
        "completionTime": timestamp(step.since) if isinstance(step, Complete) and step.since else None,
        "progress": _progress(observed.progress, before, run_file.run, step),
        "base": architecture_status(course.told) if course.told else None,
        "tracking": _tracking(observed.progress, before, run_file.run),
        "selection": course.selected.to_status() if course.selected else None,
        "evaluation": [scored.to_status() for scored in course.scored or ()],
        "adapterPath": f"{run_folder}/adapter" if course.is_done(Stage.TRAIN) else None,
        "modelPath": _model_path(run_folder, course, step, before),
        "pushedTo": course.target
        if course.target and course.is_done(Stage.PUSH)
        else course.memory.pushed_to,
        "conditions": set_conditions(
            before.get("conditions", []), conditions, generation=generation, now=now
        ),
    }
    return without_empty(status)


def _model_path(run_folder: str, course: Course, step: Step, before: dict[str, Any]) -> str | None:
    """Return where the model is, once it is released: a later push does not take it back."""
    path = f"{run_folder}/merged"
    is_released = isinstance(step, Complete) and Stage.MERGE in course.stages
    return path if is_released or before.get("modelPath") == path else None


def _progress(
    progress: ObservedProgress | None, before: dict[str, Any], run: str, step: Step
) -> Manifest | None:
    """Return the newest answer. What a stage said last stays until the next one speaks: it is for people."""
    if progress is None:
        said: Manifest = before.get("progress", {}) if before.get("run") == run else {}
        is_over = isinstance(step, Complete) or said.get("stage") != step.stage
        return said if is_over else None
    return without_empty(
        {
            "stage": progress.stage,
            "step": progress.step,
            "totalSteps": progress.total_steps,
            "loss": progress.loss,
            "validationLoss": progress.validation_loss,
            "rewardAccuracy": progress.reward_accuracy,
            "rewardMargin": progress.reward_margin,
            "tokensPerSecond": progress.tokens_per_second,
            "expertLoad": progress.expert_load,
            "expertRankLoad": progress.expert_rank_load,
            "slowestRank": progress.slowest_rank,
            "slowdown": progress.slowdown,
            "etaSeconds": progress.eta_seconds,
            "lastCheckpoint": progress.last_checkpoint,
            "samples": [{"prompt": prompt, "text": text} for prompt, text in progress.samples] or None,
            "samplesStep": progress.samples_step,
            "bytesDone": progress.bytes_done,
            "bytesTotal": progress.bytes_total,
        }
    )


def _tracking(progress: ObservedProgress | None, before: dict[str, Any], run: str) -> Manifest | None:
    """Return where the metrics are to be seen: as training told it, and told it last."""
    if progress is not None and progress.tracking:
        return dict(progress.tracking)
    return before.get("tracking") if before.get("run") == run else None
