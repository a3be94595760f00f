"""What comes next in a run: from its Jobs, and from the status of those that were cleaned away (ADR 17)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from finetune_operator.api.scheduling import FailurePolicy, SchedulingSpec
from finetune_operator.core.capacity.architecture import Architecture
from finetune_operator.core.capacity.base_model import read_architecture
from finetune_operator.core.observed.job import JobState, ObservedJob
from finetune_operator.core.wait_reason import WaitReason
from finetune_operator.core.waiting import first_of
from finetune_operator.finetune.evaluation import Scored, read_evaluation
from finetune_operator.finetune.memory import NOBODY_ASKED, NOTHING, Memory, Retry
from finetune_operator.finetune.reasons import JobReason
from finetune_operator.finetune.selection import Selected, read_selection
from finetune_operator.finetune.settings import FIELDS
from finetune_operator.finetune.stages import Stage
from finetune_operator.finetune.step import BackingOff, Complete, Failed, Running, Step, Suspended

_Told = TypeVar("_Told")


@dataclass(frozen=True, kw_only=True)
class Course:
    """The stages of a run, the Jobs seen of it, and the rules about restarts and deadlines."""

    stages: tuple[Stage, ...]
    jobs: Sequence[ObservedJob]
    scheduling: SchedulingSpec
    failure_policy: FailurePolicy
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of each stage, by its Jobs' component, as the spec has them now."""
    target: str | None = None
    """Where the model is to be pushed to."""
    memory: Memory = NOTHING
    retry: Retry = NOBODY_ASKED

    def attempts(self, stage: Stage) -> list[ObservedJob]:
        """Return the Jobs of a stage, oldest first."""
        return sorted((job for job in self.jobs if job.component == stage), key=lambda job: job.attempt)

    def success(self, stage: Stage) -> ObservedJob | None:
        """Return the Job that did a stage; of a push, the one to where the spec says."""
        done = (job for job in self.attempts(stage) if job.state is JobState.SUCCEEDED)
        return next((job for job in done if stage is not Stage.PUSH or not self.changed(job)), None)

    def changed(self, job: ObservedJob) -> str:
        """Return the field of a Job's stage that has changed since it was made, or an empty string."""
        wanted = self.settings.get(job.component)
        is_as_given = not job.settings or wanted in (None, job.settings)
        return "" if is_as_given else FIELDS[Stage(job.component)]

    def is_done(self, stage: Stage) -> bool:
        """Return whether a stage is done: by its Job, by the status, or as a stage after it was begun."""
        after = self.stages[self.stages.index(stage) + 1 :]
        is_behind = any(job.component in after for job in self.jobs)
        return self.success(stage) is not None or self._remembers(stage) or is_behind

    def _remembers(self, stage: Stage) -> bool:
        if stage is Stage.PUSH:
            return self.target is not None and self.memory.pushed_to == self.target
        return stage in self.memory.done

    def done_at(self, stage: Stage) -> datetime | None:
        """Return when a stage was done, as far as that is known."""
        job = self.success(stage)
        return job.finished_at if job else self.memory.done.get(stage)

    @property
    def has_started(self) -> bool:
        """Whether an attempt of it was ever made."""
        return bool(self.jobs) or self.memory.started_at is not None

    @property
    def told(self) -> Architecture | None:
        """The base, as prepare read it and told at its end; the status keeps it. None before that."""
        return self._told_by(Stage.PREPARE, read_architecture) or self.memory.told

    @property
    def selected(self) -> Selected | None:
        """The step that training exported, and why, as it told at its end; the status keeps it."""
        if not self.is_done(Stage.TRAIN):
            return None
        return self._told_by(Stage.TRAIN, read_selection) or self.memory.selected

    @property
    def scored(self) -> tuple[Scored, ...] | None:
        """What base and merged model reached, as the evaluation told at its end; the status keeps it."""
        if Stage.EVALUATE not in self.stages or not self.is_done(Stage.EVALUATE):
            return None
        return self._told_by(Stage.EVALUATE, read_evaluation) or self.memory.scored

    @property
    def failures(self) -> list[ObservedJob]:
        """Attempts that count against maxRestarts."""
        return [job for job in self.jobs if job.state is JobState.FAILED and self._counts(job)]

    @property
    def restarts(self) -> int:
        """How many attempts have failed so, with those whose Jobs were cleaned away."""
        failed = (job for job in self.jobs if job.state is JobState.FAILED)
        forgiven = self._is_forgiven(self.memory.failed_at) or any(map(self.changed, failed))
        return max(len(self.failures), 0 if forgiven else self.memory.restarts)

    @property
    def remaining_seconds(self) -> int | None:
        """Seconds left of the deadline to an attempt made now; attempts that have ended are counted."""
        if self.scheduling.active_deadline_seconds is None:
            return None
        return self.scheduling.active_deadline_seconds - int(sum(job.active_seconds for job in self.jobs))

    @property
    def _deadline_is_over(self) -> bool:
        return self.remaining_seconds is not None and self.remaining_seconds <= 0

    def next_step(self, now: datetime) -> Step:
        """Return what the run is doing, or has come to."""
        stage = next((s for s in self.stages if not self.is_done(s)), None)
        if stage is None:
            return Complete(since=self.done_at(self.stages[-1]))
        attempts = self.attempts(stage)
        last = attempts[-1] if attempts else None
        if last is None and (failed := self._remembered_failure(stage)):
            return failed
        is_over = last is not None and (last.state is JobState.SUCCEEDED or self._is_excused(last))
        if last is not None and last.state is JobState.FAILED and not is_over:
            return self._after_failure(stage, last, now)
        if self.scheduling.suspend:
            return self._suspended(stage)
        if last is not None and is_over:
            return self._run(stage, last.attempt + 1, None)
        return self._run(stage, last.attempt if last else 0, last)

    def _is_excused(self, job: ObservedJob) -> bool:
        """Return whether a failure is of something that was mended since: by a retry, or in the spec."""
        return job.state is JobState.FAILED and (
            self._is_forgiven(job.finished_at) or bool(self.changed(job))
        )

    def _told_by(self, stage: Stage, read: Callable[[str], _Told | None]) -> _Told | None:
        """Return what a pod told when it did a stage; None once its pods are gone."""
        job = self.success(stage)
        results = (read(pod.result) for pod in job.pods) if job else ()
        return next((told for told in results if told), None)

    def _counts(self, job: ObservedJob) -> bool:
        return not _is_no_fault(job) and not self._is_excused(job)

    def _is_forgiven(self, failed_at: datetime | None) -> bool:
        return self.retry.at is not None and failed_at is not None and failed_at <= self.retry.at

    def _remembered_failure(self, stage: Stage) -> Failed | None:
        """Return the failure of a stage whose Jobs were cleaned away; None once what it hit is raised."""
        failed, started_at = self.memory.failed, self.memory.started_at
        if failed is None or failed.stage != stage or self._is_forgiven(failed.since):
            return None
        if failed.reason == JobReason.RESTARTS_EXHAUSTED:
            return failed if self.memory.restarts > self.failure_policy.max_restarts else None
        if failed.reason == JobReason.DEADLINE_EXCEEDED and failed.since and started_at:
            seconds = self.scheduling.active_deadline_seconds
            taken = (failed.since - started_at).total_seconds()
            return failed if seconds is not None and seconds <= taken else None
        return failed

    def _suspended(self, stage: Stage) -> Suspended:
        waits = (job.waiting for job in self.jobs if job.deleting)
        stuck = first_of(wait for wait in waits if wait and wait.reason is WaitReason.NOT_ENDING)
        return Suspended(stage=stage, waiting=stuck)

    def _run(self, stage: Stage, attempt: int, job: ObservedJob | None) -> Step:
        if job is None and self._deadline_is_over:
            return self._deadline_exceeded(stage)
        return Running(stage=stage, attempt=attempt, job=job, changed=self.changed(job) if job else "")

    def _after_failure(self, stage: Stage, last: ObservedJob, now: datetime) -> Step:
        cause = last.termination
        if cause is not None and cause.is_final and not _is_no_fault(last):
            return Failed(stage=stage, reason=cause.reason, message=cause.sentence, since=last.finished_at)
        if self._deadline_is_over:
            return self._deadline_exceeded(stage)
        if self.restarts > self.failure_policy.max_restarts:
            return self._restarts_exhausted(stage, last)
        if self.scheduling.suspend:
            return self._suspended(stage)
        until = (last.finished_at or now) + timedelta(seconds=self._backoff_seconds(last))
        if now < until:
            return BackingOff(stage=stage, attempt=last.attempt + 1, after=last, until=until)
        return self._run(stage, last.attempt + 1, None)

    def _backoff_seconds(self, last: ObservedJob) -> float:
        """Return the wait after a failure, doubled for each that counts."""
        if _is_no_fault(last):
            return 0
        doubled = self.failure_policy.backoff_seconds * 2.0 ** min(self.restarts - 1, 16)
        return min(doubled, self.failure_policy.max_backoff_seconds)

    def _restarts_exhausted(self, stage: Stage, last: ObservedJob) -> Failed:
        cause = last.termination.sentence if last.termination else "no pod left a message"
        allowed = self.failure_policy.max_restarts
        times = "1 restart" if allowed == 1 else f"{allowed} restarts"
        reason = last.termination.reason if last.termination and not allowed else JobReason.RESTARTS_EXHAUSTED
        message = cause if not allowed else f"The {stage} stage failed again after {times}: {cause}"
        return Failed(stage=stage, reason=reason, message=message, since=last.finished_at)

    def _deadline_exceeded(self, stage: Stage) -> Failed:
        ends = (job.finished_at for job in self.jobs if job.finished_at)
        seconds = self.scheduling.active_deadline_seconds
        return Failed(
            stage=stage,
            reason=JobReason.DEADLINE_EXCEEDED,
            message=f"The {stage} stage went beyond scheduling.activeDeadlineSeconds ({seconds} s). "
            "Raise it: the job goes on from its newest checkpoint",
            since=max(ends, default=None),
        )


def _is_no_fault(job: ObservedJob) -> bool:
    """Return whether a failed attempt says nothing about the job: disrupted, or its deadline was raised."""
    return job.disrupted or job.failure_reason == "DeadlineExceeded"
