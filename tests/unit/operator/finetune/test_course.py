"""What comes next, from the Jobs that were seen."""

from datetime import UTC, datetime, timedelta
from typing import Any

import observing
import pytest

from finetune_operator.api.scheduling import FailurePolicy, SchedulingSpec
from finetune_operator.core.observed.job import JobState, ObservedJob
from finetune_operator.core.termination import Termination
from finetune_operator.finetune.course import Course
from finetune_operator.finetune.stages import Stage
from finetune_operator.finetune.step import BackingOff, Complete, Failed, Running, Step, Suspended

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(hours=1)


def seen(stage: Stage, attempt: int = 0, state: JobState = JobState.ACTIVE, **fields: Any) -> ObservedJob:
    finished = None if state is JobState.ACTIVE else NOW
    return observing.attempt(stage, attempt, state, started=START, finished=finished, **fields)


def done(stage: Stage) -> ObservedJob:
    return seen(stage, state=JobState.SUCCEEDED)


def failed(code: int, attempt: int = 0, stage: Stage = Stage.TRAIN, **fields: Any) -> ObservedJob:
    cause = Termination(exit_code=code, reason="Broken", message="It broke", remedy="Mend it")
    return seen(stage, attempt, JobState.FAILED, pods=(observing.failed_pod(cause),), **fields)


def evicted() -> ObservedJob:
    """Stopped by our podFailurePolicy: evictions and drains have the same pod condition."""
    pod = observing.pod(
        phase="Failed",
        reason="Evicted",
        message="The node was low on resource: memory. ",
        conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}],
        containerStatuses=[{"name": "main", "state": {"terminated": {"exitCode": 137, "message": ""}}}],
    )
    return seen(Stage.TRAIN, state=JobState.FAILED, pods=(pod,), stopped_by_disruption=True)


def course(*jobs: ObservedJob, restarts: int = 1, **scheduling: Any) -> Course:
    return Course(
        stages=tuple(Stage),
        jobs=jobs,
        scheduling=SchedulingSpec(**scheduling),
        failure_policy=FailurePolicy(max_restarts=restarts, backoff_seconds=10),
    )


PREPARED = done(Stage.PREPARE)
EXHAUSTED = "The train stage failed again after 1 restart: It broke. Mend it"
OVERDUE = (
    "The train stage went beyond scheduling.activeDeadlineSeconds (7200 s). "
    "Raise it: the job goes on from its newest checkpoint"
)


@pytest.mark.parametrize(
    ("course", "after", "step"),
    [
        pytest.param(course(), 0, Running(stage=Stage.PREPARE, attempt=0, job=None), id="nothing yet"),
        pytest.param(course(PREPARED), 0, Running(stage=Stage.TRAIN, attempt=0, job=None), id="next stage"),
        pytest.param(
            course(PREPARED, seen(Stage.TRAIN)),
            0,
            Running(stage=Stage.TRAIN, attempt=0, job=seen(Stage.TRAIN)),
            id="running",
        ),
        pytest.param(course(*map(done, Stage)), 0, Complete(since=NOW), id="complete"),
        pytest.param(
            course(PREPARED, failed(11)),
            9,
            BackingOff(stage=Stage.TRAIN, attempt=1, after=failed(11), until=NOW + timedelta(seconds=10)),
            id="a failure waits",
        ),
        pytest.param(
            course(PREPARED, failed(11)),
            10,
            Running(stage=Stage.TRAIN, attempt=1, job=None),
            id="and is tried again",
        ),
        pytest.param(
            course(PREPARED, failed(11), failed(10, 1), restarts=2),
            19,
            BackingOff(stage=Stage.TRAIN, attempt=2, after=failed(10, 1), until=NOW + timedelta(seconds=20)),
            id="the second waits twice as long",
        ),
        pytest.param(
            course(PREPARED, failed(11), failed(10, 1)),
            0,
            Failed(stage=Stage.TRAIN, reason="RestartsExhausted", message=EXHAUSTED, since=NOW),
            id="no more restarts",
        ),
        pytest.param(
            course(PREPARED, failed(11), restarts=0),
            0,
            Failed(stage=Stage.TRAIN, reason="Broken", message="It broke. Mend it", since=NOW),
            id="none was allowed",
        ),
        pytest.param(
            course(PREPARED, failed(3)),
            0,
            Failed(stage=Stage.TRAIN, reason="Broken", message="It broke. Mend it", since=NOW),
            id="the user's data",
        ),
        pytest.param(
            course(PREPARED, failed(2), restarts=9),
            0,
            Failed(stage=Stage.TRAIN, reason="Broken", message="It broke. Mend it", since=NOW),
            id="the user's configuration, whatever restarts are left",
        ),
        pytest.param(
            course(PREPARED, failed(2, stopped_by_disruption=True), restarts=0),
            0,
            Running(stage=Stage.TRAIN, attempt=1, job=None),
            id="what a disrupted attempt said does not count",
        ),
        pytest.param(
            course(failed(11, stage=Stage.PREPARE), seen(Stage.PREPARE, 1, JobState.SUCCEEDED), failed(11)),
            0,
            Failed(stage=Stage.TRAIN, reason="RestartsExhausted", message=EXHAUSTED, since=NOW),
            id="restarts are counted over all stages",
        ),
        pytest.param(
            course(
                PREPARED,
                failed(143, stopped_by_disruption=True),
                failed(143, 1, stopped_by_disruption=True),
                restarts=0,
            ),
            0,
            Running(stage=Stage.TRAIN, attempt=2, job=None),
            id="disruptions do not count and do not wait",
        ),
        pytest.param(
            course(PREPARED, evicted()),
            9,
            BackingOff(stage=Stage.TRAIN, attempt=1, after=evicted(), until=NOW + timedelta(seconds=10)),
            id="an eviction by a node that has too little counts and waits",
        ),
        pytest.param(
            course(PREPARED, evicted(), restarts=0),
            0,
            Failed(
                stage=Stage.TRAIN,
                reason="Evicted",
                message="Its node evicted it: The node was low on resource: memory. Raise the requests in "
                "podOverrides.resources for what is named, so that it goes to nodes that have it",
                since=NOW,
            ),
            id="an eviction where no restart is allowed",
        ),
        pytest.param(course(PREPARED, suspend=True), 0, Suspended(stage=Stage.TRAIN), id="suspended before"),
        pytest.param(
            course(PREPARED, seen(Stage.TRAIN), suspend=True),
            0,
            Suspended(stage=Stage.TRAIN),
            id="suspended while",
        ),
        pytest.param(
            course(PREPARED, failed(11), suspend=True),
            99,
            Suspended(stage=Stage.TRAIN),
            id="suspended after a failure",
        ),
        pytest.param(
            course(*map(done, Stage), suspend=True), 0, Complete(since=NOW), id="suspended too late"
        ),
        pytest.param(
            course(PREPARED, failed(143, failure_reason="DeadlineExceeded"), active_deadline_seconds=7200),
            0,
            Failed(stage=Stage.TRAIN, reason="DeadlineExceeded", message=OVERDUE, since=NOW),
            id="too late",
        ),
        pytest.param(
            course(PREPARED, failed(11), active_deadline_seconds=7200),
            99,
            Failed(stage=Stage.TRAIN, reason="DeadlineExceeded", message=OVERDUE, since=NOW),
            id="a failure that leaves no time",
        ),
        pytest.param(
            course(PREPARED, active_deadline_seconds=3600),
            0,
            Failed(
                stage=Stage.TRAIN,
                reason="DeadlineExceeded",
                message=OVERDUE.replace("7200", "3600"),
                since=NOW,
            ),
            id="no time for the next stage",
        ),
        pytest.param(
            course(*map(done, Stage), active_deadline_seconds=60),
            0,
            Complete(since=NOW),
            id="done, though late",
        ),
        pytest.param(
            course(PREPARED, failed(143, failure_reason="DeadlineExceeded"), active_deadline_seconds=9000),
            0,
            Running(stage=Stage.TRAIN, attempt=1, job=None),
            id="the deadline was raised",
        ),
    ],
)
def test_next_step(course: Course, after: float, step: Step) -> None:
    assert course.next_step(NOW + timedelta(seconds=after)) == step


def test_what_is_left_of_the_deadline() -> None:
    assert course(PREPARED, failed(11), active_deadline_seconds=9000).remaining_seconds == 1800
