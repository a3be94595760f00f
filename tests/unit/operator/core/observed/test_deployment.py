"""Deployments as they are read from a cluster."""

from typing import Any

import pytest

from finetune_operator.core.conditions import parse_timestamp
from finetune_operator.core.observed.deployment import observe_deployment
from finetune_operator.core.wait_reason import WaitReason
from finetune_operator.core.waiting import Wait


def failure(status: str) -> list[dict[str, Any]]:
    """The condition of a Deployment whose ReplicaSet cannot make pods."""
    return [
        {
            "type": "ReplicaFailure",
            "status": status,
            "reason": "FailedCreate",
            "message": 'pods "faq-6d5-x7k2p" is forbidden: exceeded quota: gpus, requested: pods=1',
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ]


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param(
            failure("True"),
            Wait(
                reason=WaitReason.QUOTA,
                text="exceeded quota: gpus, requested: pods=1",
                since=parse_timestamp("2026-01-01T00:00:00Z"),
            ),
            id="refused",
        ),
        pytest.param(failure("False"), None, id="no longer"),
        pytest.param(
            [
                {
                    "type": "Progressing",
                    "status": "Unknown",
                    "reason": "DeploymentPaused",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
            ],
            Wait(reason=WaitReason.PAUSED, since=parse_timestamp("2026-01-01T00:00:00Z")),
            id="kubectl rollout pause",
        ),
    ],
)
def test_pods_that_are_refused(objects: Any, conditions: list[dict[str, Any]], said: Wait | None) -> None:
    seen = observe_deployment(objects.make("Deployment", "faq", spec={}, status={"conditions": conditions}))
    assert (seen.refused, seen.waiting) == (said, said)
