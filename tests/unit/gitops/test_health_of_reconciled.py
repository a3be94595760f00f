"""The statuses that the operator itself writes have the health that a person would give them."""

from datetime import UTC, datetime
from typing import Any

import observing
import pytest
from argocd import health

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.config import Config
from finetune_operator.core.outcome import Outcome
from finetune_operator.core.termination import Termination
from finetune_operator.finetune import Observed as JobObserved
from finetune_operator.finetune.reconcile import reconcile as reconcile_job
from finetune_operator.serving import Observed
from finetune_operator.serving.reconcile import reconcile as reconcile_deployment

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = Config()
MODEL = Outcome(claim="models", model_path="runs/faq/merged", complete=True)
JOBS = {"faq": MODEL}
CRASH = Termination(exit_code=1, reason="Failed", message="no memory")


def parent(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "faq", "namespace": "default", "uid": "u-1", "generation": 1}
    return {"apiVersion": "finetune.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, "Progressing", id="new"),
        pytest.param({"scheduling": {"suspend": True}}, "Suspended", id="suspended"),
        pytest.param({"flavor": "671B_lora"}, "Degraded", id="does not fit"),
    ],
)
def test_health_of_a_job_as_reconciled(changes: dict[str, Any], expected: str) -> None:
    spec = {
        "model": {"uri": "models/tiny"},
        "flavor": "tiny_lora",
        "dataset": {"uri": "datasets/faq.jsonl"},
        "training": {"steps": 10},
        "storage": {"claimName": "models"},
        **changes,
    }
    job = parent("FineTuneJob", spec)
    plan = reconcile_job(FineTuneJob.model_validate(job), JobObserved(), NOW, CONFIG)
    assert health({**job, "status": plan.status})[0] == expected


@pytest.mark.parametrize(
    ("replicas", "observed", "expected"),
    [
        pytest.param(1, Observed(), "Progressing", id="no job"),
        pytest.param(1, Observed(jobs=JOBS), "Progressing", id="no server yet"),
        pytest.param(
            1,
            Observed(jobs=JOBS, deployment=observing.server(updated=1, ready=1)),
            "Healthy",
            id="serves",
        ),
        pytest.param(
            1,
            Observed(jobs=JOBS, deployment=observing.server(up_to_date=False, updated=1, ready=1)),
            "Progressing",
            id="rolls",
        ),
        pytest.param(
            1,
            Observed(
                jobs=JOBS,
                deployment=observing.server(updated=1, pods=(observing.failed_pod(CRASH, restarts=3),)),
            ),
            "Degraded",
            id="crashes",
        ),
        pytest.param(0, Observed(jobs=JOBS), "Healthy", id="no replicas wanted"),
    ],
)
def test_health_of_a_deployment_as_reconciled(replicas: int, observed: Observed, expected: str) -> None:
    deployment = parent(
        "ModelDeployment", {"model": {"fineTuneJobRef": {"name": "faq"}}, "replicas": replicas}
    )
    plan = reconcile_deployment(ModelDeployment.model_validate(deployment), observed, NOW, CONFIG)
    assert health({**deployment, "status": plan.status})[0] == expected
