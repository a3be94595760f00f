"""Deployments as they are read from a cluster."""

from typing import Any

import pytest

from finetune_operator.core.observed.deployment import observe_deployment


def failure(status: str) -> list[dict[str, Any]]:
    """The condition of a Deployment whose ReplicaSet cannot make pods."""
    return [
        {"type": "ReplicaFailure", "status": status, "reason": "FailedCreate", "message": "exceeded quota"}
    ]


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        pytest.param([], "", id="nothing"),
        pytest.param(failure("True"), "exceeded quota", id="refused"),
        pytest.param(failure("False"), "", id="no longer"),
    ],
)
def test_pods_that_are_refused(objects: Any, conditions: list[dict[str, Any]], said: str) -> None:
    seen = observe_deployment(objects.make("Deployment", "faq", spec={}, status={"conditions": conditions}))
    assert (seen.refused, seen.waiting) == (said, said)
