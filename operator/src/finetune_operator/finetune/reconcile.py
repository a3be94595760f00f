"""The reconcile of a FineTuneJob: pure, so that the operator and the local engine do the same."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from finetune_operator.api.job import FineTuneJob
from finetune_operator.api.run_file import RunFile
from finetune_operator.core.children import changed_children
from finetune_operator.core.conditions import Condition, events_of
from finetune_operator.core.config import Config
from finetune_operator.core.digest import spec_hash_of, with_spec_hash
from finetune_operator.core.labels import RUN
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.job import JobState, ObservedJob
from finetune_operator.core.plan import Plan
from finetune_operator.core.run import build_run_file
from finetune_operator.finetune.children.claim import desired_claim
from finetune_operator.finetune.children.config_map import desired_config_map
from finetune_operator.finetune.children.job import Attempt, desired_job
from finetune_operator.finetune.children.model_deployment import desired_model_deployment
from finetune_operator.finetune.children.names import Names, names_of, owner_of
from finetune_operator.finetune.children.network_policy import desired_network_policies
from finetune_operator.finetune.children.service import desired_service
from finetune_operator.finetune.conditions import conditions_of
from finetune_operator.finetune.course import Course
from finetune_operator.finetune.evaluation import cannot_be_asked
from finetune_operator.finetune.fits import fits_of
from finetune_operator.finetune.memory import memory_of, retry_of
from finetune_operator.finetune.observed import Observed
from finetune_operator.finetune.reasons import JobReason
from finetune_operator.finetune.settings import settings_of
from finetune_operator.finetune.stages import Stage, stages_of
from finetune_operator.finetune.starting_point import starting_point
from finetune_operator.finetune.status import build_status, previous_status
from finetune_operator.finetune.step import Awaiting, BackingOff, Complete, Failed, Running, Step


def reconcile(job: FineTuneJob, observed: Observed, now: datetime, config: Config) -> Plan:
    """Return what to make, what to delete and what to say about a job."""
    start = starting_point(job, observed.named)
    run_file = build_run_file(job, start if isinstance(start, str) else None)
    names = names_of(job, run_file.run)
    course = Course(
        stages=stages_of(job.spec),
        jobs=tuple(j for j in observed.jobs if j.run == names.run),
        scheduling=job.spec.scheduling,
        failure_policy=job.spec.failure_policy,
        settings=settings_of(job.spec),
        target=job.spec.export.push.uri if job.spec.export.push else None,
        memory=memory_of(previous_status(job), names.run),
        retry=retry_of(job),
    )
    fits = fits_of(job, config, course.told)
    step = _next_step(job, course, fits, start, now)
    expires_at = _expires_at(job, step)
    if expires_at is not None and now >= expires_at:
        return Plan(status=previous_status(job), delete=(owner_of(job).ref,))
    conditions = [fits, *conditions_of(course, step)]
    return Plan(
        status=build_status(job, run_file, course, step, conditions, observed, now),
        apply=changed_children(
            _desired_children(job, names, run_file, course, step, config), observed.children
        ),
        delete=tuple(
            _superfluous(job, names, course, _current(job, names, course, step, config, observed), observed)
        ),
        events=events_of(previous_status(job).get("conditions", []), conditions),
        requeue_after=_requeue_after(step, expires_at, now),
    )


def _next_step(
    job: FineTuneJob,
    course: Course,
    fits: Condition,
    start: str | Awaiting | Failed | None,
    now: datetime,
) -> Step:
    """Return the next step. What does not fit is not started; what runs is proof against arithmetic.

    How large a base is, is told by prepare: it is compared again before training starts (ADR 12).
    """
    if not course.has_started and (problem := cannot_be_asked(job.spec)):
        return Failed(
            stage=course.stages[0], reason=JobReason.EVALUATION_INVALID, message=problem, since=None
        )
    if fits.status == "False" and not course.has_started:
        return Failed(stage=course.stages[0], reason=fits.reason, message=fits.message, since=None)
    if isinstance(start, Awaiting | Failed) and not course.has_started:
        return start
    prepared = course.success(Stage.PREPARE)
    if job.spec.flavor != "auto" or not course.is_done(Stage.PREPARE) or course.attempts(Stage.TRAIN):
        return course.next_step(now)
    if fits.status == "False" and course.told is not None:
        since = course.done_at(Stage.PREPARE)
        return Failed(stage=Stage.TRAIN, reason=fits.reason, message=fits.message, since=since)
    if prepared and _will_tell(prepared):
        return Running(stage=Stage.PREPARE, attempt=prepared.attempt, job=prepared)
    return course.next_step(now)


def _will_tell(prepared: ObservedJob) -> bool:
    """Return whether a Job is done, and its pod not yet seen at its end: they are watched apart."""
    return any(not pod.has_ended for pod in prepared.pods)


def _desired_children(
    job: FineTuneJob, names: Names, run_file: RunFile, course: Course, step: Step, config: Config
) -> Iterable[Manifest]:
    """Yield what must be there. A Job's template is immutable: one that exists is left as it is."""
    if isinstance(step, Awaiting | Failed) and not course.has_started:
        return  # Never started, as it does not fit: a claim of a size that is too small is not made.
    if claim := desired_claim(job, names):
        yield claim
    if job.spec.lora.from_ is None or run_file.lora.from_ is not None:
        yield desired_config_map(job, names, run_file)  # else the job whose adapter it names is gone by now
    yield desired_service(job, names)
    yield from desired_network_policies(job, names, config)
    if isinstance(step, Running) and step.job is None:
        attempt = _attempt(course, step)
        yield desired_job(job, names, attempt, config)
    if deployment := desired_model_deployment(job):
        yield deployment


def _current(
    job: FineTuneJob, names: Names, course: Course, step: Step, config: Config, observed: Observed
) -> ObservedJob | None:
    """Return the Job that is waited for. One that waits itself gives way when its template has changed since.

    A Job's template is immutable, and what has begun goes on as it is: deleted, it is made again.
    """
    if not isinstance(step, Running) or step.job is None:
        return None
    if step.job.has_begun or not step.job.spec_hash:
        return step.job
    attempt = _attempt(course, step)
    mounted = (replace(names, config_map=name) for name in (names.config_map, *_run_files(names, observed)))
    wanted = (with_spec_hash(desired_job(job, each, attempt, config)) for each in mounted)
    return step.job if step.job.spec_hash in map(spec_hash_of, wanted) else None


def _run_files(names: Names, observed: Observed) -> list[str]:
    """Return the ConfigMaps of this run: what changed for other stages leaves a Job in its queue."""
    seen = observed.children.items()
    return [ref.name for ref, child in seen if ref.kind == "ConfigMap" and child.labels.get(RUN) == names.run]


def _attempt(course: Course, step: Running) -> Attempt:
    return Attempt(
        stage=step.stage, number=step.attempt, deadline_seconds=course.remaining_seconds, told=course.told
    )


def _superfluous(
    job: FineTuneJob, names: Names, course: Course, current: ObservedJob | None, observed: Observed
) -> Iterable[Ref]:
    """Yield children of other runs, a removed deployment, and unfinished Jobs that nobody waits for.

    Finished Jobs of this run stay: they are the memory. So does a claim: it goes with its owner; and run.json
    as it was before a change, which a Job that runs still mounts.
    """
    wanted = {names.config_map, names.service, names.policy, names.outward_policy}
    if job.spec.deployment is not None:
        wanted.add(job.metadata.name)
    finished = {j.name for j in course.jobs if j.finished_at is not None}
    deleting = {j.name for j in observed.jobs if j.deleting}
    wanted.update(_run_files(names, observed))
    for ref in sorted(observed.children):
        if ref.kind == "Job":
            if ref.name not in finished | deleting and (current is None or ref.name != current.name):
                yield ref
        elif ref.kind != "PersistentVolumeClaim" and ref.name not in wanted:
            yield ref


def _expires_at(job: FineTuneJob, step: Step) -> datetime | None:
    """Return when a finished job is to be deleted, if ever: not while it owns an endpoint or a model."""
    ttl = job.spec.ttl_seconds_after_finished
    if ttl is None or not isinstance(step, Complete | Failed) or step.since is None:
        return None
    if job.spec.deployment is not None or job.spec.storage.claim_name is None:
        return None  # The API refuses it; an object of before that rule may be there.
    return step.since + timedelta(seconds=ttl)


def _requeue_after(step: Step, expires_at: datetime | None, now: datetime) -> float | None:
    if isinstance(step, BackingOff):
        return (step.until - now).total_seconds()
    if expires_at is not None:
        return (expires_at - now).total_seconds()
    if isinstance(step, Running) and step.job is not None and step.job.state is JobState.SUCCEEDED:
        return _UNTIL_IT_TELLS
    return None


_UNTIL_IT_TELLS = 1.0
