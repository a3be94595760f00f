"""Jobs as they are read from a cluster."""

from dataclasses import replace
from typing import Any

import observing
import pytest

from finetune_operator.core.conditions import parse_timestamp
from finetune_operator.core.observed.job import JobState, observe_job
from finetune_operator.core.observed.pod import ObservedPod
from finetune_operator.core.termination import Termination
from finetune_operator.core.wait_reason import WaitReason
from finetune_operator.core.waiting import Wait

START, END = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"
LABELS = {"app.kubernetes.io/component": "train", "finetune.dev/run": "3f2a9c1b", "finetune.dev/attempt": "1"}


def job(**status: Any) -> dict[str, Any]:
    metadata = {"name": "faq-train", "namespace": "ml", "labels": LABELS}
    spec = {"parallelism": 2, "completions": 2}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec, "status": status}


def ended(type_: str, reason: str) -> list[dict[str, Any]]:
    return [{"type": type_, "status": "True", "reason": reason, "lastTransitionTime": END}]


def pod(code: int, conditions: tuple[str, ...] = ()) -> ObservedPod:
    terminated = {"exitCode": code, "message": "m", "finishedAt": END}
    return observing.pod(
        conditions=[{"type": name, "status": "True"} for name in conditions],
        containerStatuses=[{"name": "main", "state": {"terminated": terminated}}],
    )


def observed(**fields: Any) -> dict[str, Any]:
    unsaid = {
        "state": JobState.ACTIVE,
        "started_at": None,
        "finished_at": None,
        "ready_pods": 0,
        "deleting": False,
        "failure_reason": "",
        "disrupted": False,
        "termination": None,
        "waiting": None,
        "delayed": None,
    }
    return {"name": "faq-train", "component": "train", "run": "3f2a9c1b", "attempt": 1, **unsaid, **fields}


T0, T1 = parse_timestamp(START), parse_timestamp(END)


@pytest.mark.parametrize(
    ("job", "pods", "expected"),
    [
        pytest.param(job(), [], observed(), id="just made"),
        pytest.param(
            job(startTime=START, active=2, ready=2), [], observed(started_at=T0, ready_pods=2), id="running"
        ),
        pytest.param(
            job(startTime=START, active=1, terminating=1),
            [],
            observed(started_at=T0),
            id="one of its pods is still to end",
        ),
        pytest.param(
            job(startTime=START, active=1, uncountedTerminatedPods={"succeeded": ["u-1"]}),
            [],
            observed(started_at=T0),
            id="one of its pods has ended, and is not counted yet",
        ),
        pytest.param(
            job(startTime=START, failed=1, conditions=ended("FailureTarget", "PodFailurePolicy")),
            [],
            observed(started_at=T0),
            id="it is about to fail",
        ),
        pytest.param(
            job(startTime=START, active=1),
            [],
            observed(started_at=T0, delayed=Wait(reason=WaitReason.NO_PODS, name="Job faq-train", since=T0)),
            id="one of its pods is not made",
        ),
        pytest.param(
            job(
                conditions=[
                    {
                        "type": "Suspended",
                        "status": "True",
                        "reason": "JobSuspended",
                        "lastTransitionTime": START,
                    }
                ]
            ),
            [],
            observed(waiting=Wait(reason=WaitReason.NOT_ADMITTED, name="faq-train", since=T0)),
            id="held back by a queue",
        ),
        pytest.param(
            job(startTime=START, completionTime=END, conditions=ended("Complete", "CompletionsReached")),
            [pod(0)],
            observed(state=JobState.SUCCEEDED, started_at=T0, finished_at=T1),
            id="complete",
        ),
        pytest.param(
            job(startTime=START, conditions=ended("Failed", "PodFailurePolicy")),
            [pod(0), pod(2)],
            observed(
                state=JobState.FAILED,
                started_at=T0,
                finished_at=T1,
                failure_reason="PodFailurePolicy",
                termination=Termination(
                    exit_code=2, reason="ConfigurationInvalid", message="m", finished_at=T1
                ),
            ),
            id="failed",
        ),
        pytest.param(
            job(startTime=START, conditions=ended("Failed", "PodFailurePolicy")),
            [pod(143, ("DisruptionTarget",))],
            observed(
                state=JobState.FAILED,
                started_at=T0,
                finished_at=T1,
                failure_reason="PodFailurePolicy",
                disrupted=True,
                termination=Termination(exit_code=143, reason="Stopped", message="m", finished_at=T1),
            ),
            id="preempted",
        ),
        pytest.param(
            job(
                conditions=[
                    {**ended("Failed", "PodFailurePolicy")[0], "message": "has condition DisruptionTarget"}
                ]
            ),
            [],
            observed(
                state=JobState.FAILED, finished_at=T1, failure_reason="PodFailurePolicy", disrupted=True
            ),
            id="preempted, and the pod is gone",
        ),
    ],
)
def test_observe_job(job: dict[str, Any], pods: list[ObservedPod], expected: dict[str, Any]) -> None:
    seen = replace(observe_job(job), pods=tuple(pods))
    assert {field: getattr(seen, field) for field in expected} == expected
