"""Health of both kinds by every status that they can have."""

from typing import Any

import pytest
from argocd import health


def condition(type_: str, status: str = "True", message: str = "", reason: str = "Because") -> dict[str, Any]:
    return {"type": type_, "status": status, "reason": reason, "message": message}


def manifest(
    kind: str, *conditions: dict[str, Any], spec: dict[str, Any] | None = None, seen: int | None = 3
) -> dict[str, Any]:
    """An object of generation 3 whose status is about generation `seen`; None: there is no status."""
    status = {"observedGeneration": seen, "conditions": list(conditions)}
    return {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "faq", "generation": 3},
        "spec": spec or {},
        **({} if seen is None else {"status": status}),
    }


COMPLETE = condition("Complete", message="The model is in the volume")
SUSPEND = {"scheduling": {"suspend": True}}


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        pytest.param(manifest("FineTuneJob", seen=None), ("Progressing", "Waits for the operator"), id="new"),
        pytest.param(
            manifest("FineTuneJob", COMPLETE, seen=2),
            ("Progressing", "Waits for the operator"),
            id="complete before the spec changed",
        ),
        pytest.param(manifest("FineTuneJob"), ("Progressing", "Running"), id="no conditions"),
        pytest.param(
            manifest("FineTuneJob", condition("Reconciling", message="The train stage runs")),
            ("Progressing", "The train stage runs"),
            id="runs",
        ),
        pytest.param(
            manifest(
                "FineTuneJob",
                condition("Fits"),
                condition("Failed", "False"),
                condition("Stalled", "False"),
                COMPLETE,
            ),
            ("Healthy", "The model is in the volume"),
            id="complete",
        ),
        pytest.param(
            manifest("FineTuneJob", condition("Failed", message="faq.jsonl:17: not JSON")),
            ("Degraded", "faq.jsonl:17: not JSON"),
            id="failed",
        ),
        pytest.param(
            manifest("FineTuneJob", condition("Failed", "False"), condition("Stalled")),
            ("Degraded", "Stalled"),
            id="stalled",
        ),
        pytest.param(
            manifest("FineTuneJob", condition("Fits", "False", "needs 1,342 GB of 1,128 GB")),
            ("Degraded", "needs 1,342 GB of 1,128 GB"),
            id="does not fit",
        ),
        pytest.param(
            manifest("FineTuneJob", condition("Complete", "False", "Stopped"), spec=SUSPEND),
            ("Suspended", "Stopped"),
            id="suspended",
        ),
        pytest.param(
            manifest("FineTuneJob", COMPLETE, spec=SUSPEND),
            ("Healthy", "The model is in the volume"),
            id="complete, then suspended",
        ),
        pytest.param(
            manifest("FineTuneJob", condition("Failed", message="broke"), spec=SUSPEND),
            ("Degraded", "broke"),
            id="failed, then suspended",
        ),
        pytest.param(
            manifest("FineTuneJob", condition("Reconciling"), spec={"scheduling": {"suspend": False}}),
            ("Progressing", "Running"),
            id="not suspended, without a message",
        ),
    ],
)
def test_health_of_a_job(job: dict[str, Any], expected: tuple[str, str]) -> None:
    assert health(job) == expected


SERVES = condition("Available", message="2 of 2 replicas answer")


@pytest.mark.parametrize(
    ("deployment", "expected"),
    [
        pytest.param(
            manifest("ModelDeployment", seen=None), ("Progressing", "Waits for the operator"), id="new"
        ),
        pytest.param(
            manifest("ModelDeployment", SERVES, seen=2),
            ("Progressing", "Waits for the operator"),
            id="available before the spec changed",
        ),
        pytest.param(manifest("ModelDeployment"), ("Progressing", "Not available yet"), id="no conditions"),
        pytest.param(
            manifest("ModelDeployment", SERVES, condition("Progressing", "False")),
            ("Healthy", "2 of 2 replicas answer"),
            id="available",
        ),
        pytest.param(
            manifest("ModelDeployment", SERVES, condition("Progressing", message="loads the new one")),
            ("Progressing", "loads the new one"),
            id="rolls to another model",
        ),
        pytest.param(
            manifest("ModelDeployment", condition("Available", "False", "Waits for FineTuneJob faq")),
            ("Progressing", "Waits for FineTuneJob faq"),
            id="waits for its job",
        ),
        pytest.param(
            manifest("ModelDeployment", SERVES, condition("Stalled", message="exit code 1")),
            ("Degraded", "exit code 1"),
            id="the new model never becomes ready",
        ),
        pytest.param(
            manifest("ModelDeployment", condition("Fits", "False", "export float8")),
            ("Degraded", "export float8"),
            id="does not fit",
        ),
        pytest.param(
            manifest(
                "ModelDeployment", condition("Available", "False", "replicas is 0"), spec={"replicas": 0}
            ),
            ("Healthy", "replicas is 0"),
            id="no replicas wanted",
        ),
    ],
)
def test_health_of_a_deployment(deployment: dict[str, Any], expected: tuple[str, str]) -> None:
    assert health(deployment) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(None, ("Progressing", "Waits for the first sync"), id="new"),
        pytest.param({"health": {"status": "Healthy"}}, ("Healthy", ""), id="healthy"),
        pytest.param(
            {"health": {"status": "Degraded", "message": "a job failed"}},
            ("Degraded", "a job failed"),
            id="degraded",
        ),
    ],
)
def test_health_of_an_application(status: dict[str, Any] | None, expected: tuple[str, str]) -> None:
    application = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {}}
    assert health(application | ({"status": status} if status else {})) == expected
