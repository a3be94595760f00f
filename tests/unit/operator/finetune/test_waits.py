"""What a FineTuneJob says of stages that do not run: the stage's condition, and the phase."""

from datetime import UTC, datetime
from typing import Any

import observing
import pytest
from fake_cluster import JobBuilder

from finetune_operator.core.config import Config
from finetune_operator.core.observed.job import ObservedJob
from finetune_operator.core.wait_reason import WaitReason
from finetune_operator.core.waiting import Wait, refused_pods, starting
from finetune_operator.finetune import Observed
from finetune_operator.finetune.children.names import names_of
from finetune_operator.finetune.reconcile import reconcile

SINCE, WHEN = datetime(2026, 1, 1, tzinfo=UTC), "(since 2026-01-01T00:00:00Z)"
QUOTA = refused_pods(
    'Error creating: pods "faq-x7k2p" is forbidden: exceeded quota: none, requested: pods=1, used: pods=0, '
    "limited: pods=0",
    SINCE,
)
CLAIM = Wait(
    reason=WaitReason.CLAIM,
    name="faq-storage",
    text='ProvisioningFailed: storageclass.storage.k8s.io "fast" not found',
    since=SINCE,
)
NOT_ENDING = Wait(reason=WaitReason.NOT_ENDING, name="pod", text="NodeNotReady: no answer", since=SINCE)


def pod(**fields: Any) -> Any:
    return observing.pod(phase=fields.pop("phase", "Pending"), **fields)


def late(wait: Wait) -> Any:
    """A pod that is late, with what its events say."""
    made = pod()
    return type(made)(ref=made.ref, phase="Pending", waiting=wait)


LOST = pod(
    phase="Running",
    conditions=[{"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    containerStatuses=[{"name": "main", "ready": True, "state": {"running": {}}}],
)


@pytest.mark.parametrize(
    ("fields", "phase", "message"),
    [
        pytest.param(
            {"active_pods": 1, "pods": (pod(),)}, "Preparing", "The prepare stage runs", id="no wait"
        ),
        pytest.param(
            {"delay": QUOTA},
            "Pending",
            "The prepare stage waits: its pods are refused: exceeded quota: none, requested: pods=1, "
            f"used: pods=0, limited: pods=0 {WHEN}. Free what the quota counts, or have it raised: "
            "`kubectl describe resourcequota`",
            id="a quota",
        ),
        pytest.param(
            {
                "delay": CLAIM,
                "pods": (
                    pod(
                        conditions=[
                            {
                                "type": "PodScheduled",
                                "status": "False",
                                "message": "unbound immediate PersistentVolumeClaims",
                            }
                        ]
                    ),
                ),
            },
            "Pending",
            "The prepare stage waits: claim faq-storage has no volume: ProvisioningFailed: "
            f'storageclass.storage.k8s.io "fast" not found {WHEN}. Correct storage.storageClassName and '
            "accessModes, or have the provisioner mended: `kubectl get storageclasses`",
            id="a claim without a volume is the cause of its pod's wait",
        ),
        pytest.param(
            {"active_pods": 1, "pods": (late(starting("pod", "", SINCE)),)},
            "Pending",
            f"The prepare stage waits: pod pod is on its node and does not start {WHEN}. A first pull of the "
            "image takes minutes; if nothing follows, `kubectl describe pod`",
            id="a node that says nothing",
        ),
        pytest.param(
            {"active_pods": 1, "pods": (LOST,)},
            "Preparing",
            f"The prepare stage waits: the node of pod pod does not answer {WHEN}. Bring the node back, or "
            "delete it: its pods go with it, and what they did is done again",
            id="a lost node",
        ),
        pytest.param(
            {"active_pods": 1, "pods": (late(NOT_ENDING),)},
            "Preparing",
            f"The prepare stage waits: {NOT_ENDING.sentence}",
            id="a pod that does not end",
        ),
    ],
)
def test_what_a_stage_says_that_waits(
    job: JobBuilder, fields: dict[str, Any], phase: str, message: str
) -> None:
    status = status_of(job(), attempt(job(), **fields))
    said = {condition["type"]: condition["message"] for condition in status["conditions"]}
    assert (status["phase"], said["Prepared"]) == (phase, message)


@pytest.mark.parametrize(
    ("pods", "phase", "message"),
    [
        pytest.param((), "Suspended", "Stopped: the pods are gone", id="stopped"),
        pytest.param(
            (late(NOT_ENDING),), "Suspending", "Stops, and waits: pod pod should have ended", id="a pod hangs"
        ),
    ],
)
def test_a_job_is_suspended_once_its_pods_are_gone(
    job: JobBuilder, pods: tuple[Any, ...], phase: str, message: str
) -> None:
    paused = job(scheduling={"suspend": True})
    status = status_of(paused, attempt(paused, pods=pods, deleting=True))
    said = {condition["type"]: condition["message"] for condition in status["conditions"]}
    assert status["phase"] == phase
    assert said["Prepared"].startswith(message)


def attempt(parent: Any, **fields: Any) -> ObservedJob:
    run = reconcile(parent, Observed(), SINCE, Config()).status["run"]
    name = names_of(parent, run).job("prepare", 0)
    return observing.attempt("prepare", run=run, started=SINCE, name=name, **fields)


def status_of(parent: Any, seen: ObservedJob) -> dict[str, Any]:
    observed = Observed(children={seen.ref: seen}, jobs=(seen,))
    return reconcile(parent, observed, SINCE, Config()).status
