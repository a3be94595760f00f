"""The conditions of a FineTuneJob, from its course alone; and the phase, a column that nothing reads back."""

from finetune_operator.core.conditions import Condition, Status, timestamp
from finetune_operator.finetune.course import Course
from finetune_operator.finetune.reasons import (
    CHANGED_BEFORE_IT_ENDED,
    CHANGED_WHILE_IT_RUNS,
    MESSAGES,
    UNREAD_RETRY,
    JobReason,
)
from finetune_operator.finetune.stages import OPTIONAL, TRAITS, Stage
from finetune_operator.finetune.step import Awaiting, BackingOff, Complete, Failed, Running, Step, Suspended


def conditions_of(course: Course, step: Step) -> list[Condition]:
    """Return the conditions of the stages, then Complete, Failed, and kstatus' Reconciling and Stalled.

    Each of these four says its own: what goes on, why it failed, what is left, whether a person is needed.
    """
    return [
        *(
            _stage_condition(stage, name, course, step)
            for stage in Stage
            if (name := TRAITS[stage].condition) and (stage not in OPTIONAL or stage in course.stages)
        ),
        _complete_condition(course, step),
        _failed_condition(course, step),
        _reconciling_condition(course, step),
        _stalled_condition(course, step),
    ]


def job_phase(step: Step) -> str:
    """Return the phase: what a person wants to know in one word."""
    match step:
        case Awaiting():
            return "Pending"
        case Running(job=job) if job is None or job.started_at is None:
            return "Pending"
        case Running(job=job) if job and job.waiting and job.waiting.reason.is_before_start:
            return "Pending"
        case Running(stage=stage):
            return TRAITS[stage].running
        case _:
            return str(_reason_of(step))


def _stage_condition(stage: Stage, name: str, course: Course, step: Step) -> Condition:
    if stage not in course.stages:
        field = "export.verify is false" if Stage.MERGE in course.stages else "export.adapterOnly is true"
        return _condition(name, "False", JobReason.SKIPPED, MESSAGES[JobReason.SKIPPED].format(field=field))
    if course.is_done(stage):
        return Condition(
            type=name,
            status="True",
            reason=JobReason.DONE,
            message=_done(stage, course),
            since=course.done_at(stage),
        )
    if isinstance(step, Complete) or step.stage != stage:
        before = course.stages[course.stages.index(stage) - 1]
        message = MESSAGES[JobReason.PENDING].format(stage=before)
        return _condition(name, "False", JobReason.PENDING, message)
    return _condition(name, "False", _reason_of(step), _message_of(step))


def _done(stage: Stage, course: Course) -> str:
    told = [course.selected.sentence] if stage is Stage.TRAIN and course.selected else []
    if stage is Stage.EVALUATE:
        told = [scored.sentence for scored in course.scored or ()]
    job = course.success(stage)
    if job and (field := course.changed(job)):
        told.append(CHANGED_BEFORE_IT_ENDED.format(field=field))
    return "; ".join((TRAITS[stage].done, *told))


def _complete_condition(course: Course, step: Step) -> Condition:
    if isinstance(step, Complete):
        what = "The model" if Stage.MERGE in course.stages else "The adapter"
        message = f"{what} is in the volume, ready to be served"
        return Condition(
            type="Complete", status="True", reason=JobReason.COMPLETE, message=message, since=step.since
        )
    message = f"The {step.stage} stage failed" if isinstance(step, Failed) else _message_of(step)
    return _condition("Complete", "False", _reason_of(step), message)


def _failed_condition(course: Course, step: Step) -> Condition:
    if isinstance(step, Failed):
        return Condition(
            type="Failed",
            status="True",
            reason=step.reason,
            message=step.message,
            since=step.since,
            failure=True,
        )
    taken, allowed = course.restarts, course.failure_policy.max_restarts
    restarts = MESSAGES[JobReason.RESTARTED].format(taken=taken, allowed=allowed)
    if isinstance(step, BackingOff):
        # A restart is worth a Warning, though the job has not failed.
        message = f"{restarts}: {_cause_of(step)}"
        return _condition("Failed", "False", JobReason.BACKING_OFF, message, failure=True)
    if taken:
        return _condition("Failed", "False", JobReason.RESTARTED, restarts)
    return _condition("Failed", "False", JobReason.NO_FAILURE, MESSAGES[JobReason.NO_FAILURE])


def _reconciling_condition(course: Course, step: Step) -> Condition:
    going_on = isinstance(step, Awaiting | Running | BackingOff)
    return Condition(
        type="Reconciling",
        status="True" if going_on else "False",
        reason=_reason_of(step),
        message=_left(course, step),
        event=_message_of(step),  # who follows the events wants to know what goes on, and what it waits for
    )


def _left(course: Course, step: Step) -> str:
    """Return what is still to be done, and by whom."""
    match step:
        case Awaiting(stage=stage) | Running(stage=stage) | BackingOff(stage=stage):
            left = course.stages[course.stages.index(stage) :]
            return f"Stages left: {', '.join(left)}"
        case Suspended():
            return "Goes on when scheduling.suspend is false"
        case Failed():
            return "No further attempt is made"
        case Complete():
            return "Every stage is done"


def _stalled_condition(course: Course, step: Step) -> Condition:
    if isinstance(step, Failed):
        unread = course.retry.unread
        message = f"{MESSAGES[JobReason.FAILED]}{UNREAD_RETRY.format(text=unread) if unread else ''}"
        return _condition("Stalled", "True", step.reason, message, silent=True)
    return _condition("Stalled", "False", _reason_of(step), "Nobody has to step in", silent=True)


def _condition(
    type_: str, status: Status, reason: str, message: str, *, failure: bool = False, silent: bool = False
) -> Condition:
    return Condition(
        type=type_, status=status, reason=reason, message=message, failure=failure, silent=silent
    )


def _reason_of(step: Step) -> str:
    match step:
        case Awaiting(reason=reason):
            return reason
        case Running(stage=stage):
            return TRAITS[stage].running
        case BackingOff():
            return JobReason.BACKING_OFF
        case Suspended(waiting=waiting):
            return JobReason.SUSPENDING if waiting else JobReason.SUSPENDED
        case Failed():
            return JobReason.FAILED
        case Complete():
            return JobReason.COMPLETE


def _message_of(step: Step) -> str:
    match step:
        case Running(stage=stage, job=job) if job is not None and job.waiting:
            return f"The {stage} stage waits: {job.waiting.sentence}"
        case Running(stage=stage, attempt=attempt, changed=field):
            number = f", attempt {attempt + 1}" if attempt else ""
            return f"The {stage} stage runs{number}{_changed_while(stage, field)}"
        case BackingOff(stage=stage, until=until):
            return f"The {stage} stage failed and is tried again at {timestamp(until)}"
        case Suspended(waiting=waiting) if waiting:
            return MESSAGES[JobReason.SUSPENDING].format(why=waiting.sentence)
        case Suspended():
            return MESSAGES[JobReason.SUSPENDED]
        case Awaiting(message=message) | Failed(message=message):
            return message
        case Complete():
            return "Every stage is done"


def _changed_while(stage: Stage, field: str) -> str:
    then = (
        "once this one ends the model is pushed again" if stage is Stage.PUSH else "another attempt heeds it"
    )
    return CHANGED_WHILE_IT_RUNS.format(field=field, then=then) if field else ""


def _cause_of(step: BackingOff) -> str:
    return step.after.termination.sentence if step.after.termination else "no pod left a message"
