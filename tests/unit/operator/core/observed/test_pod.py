"""Why a pod does not run yet."""

from typing import Any

import observing
import pytest

from finetune_operator.core.observed.pod import waiting_of


def pending(**status: Any) -> dict[str, Any]:
    return {"phase": "Pending", **status}


def container(reason: str, message: str = "") -> list[dict[str, Any]]:
    return [{"state": {"waiting": {"reason": reason, **({"message": message} if message else {})}}}]


UNSCHEDULABLE = [{"type": "PodScheduled", "status": "False", "message": "0/5 nodes are available"}]


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        pytest.param([], "", id="no pods"),
        pytest.param([pending()], "", id="just made"),
        pytest.param([{"phase": "Running"}], "", id="running"),
        pytest.param([pending(conditions=UNSCHEDULABLE)], "0/5 nodes are available", id="no node"),
        pytest.param([pending(containerStatuses=container("ContainerCreating"))], "", id="being made"),
        pytest.param(
            [pending(containerStatuses=container("ImagePullBackOff", "no such tag"))],
            "ImagePullBackOff: no such tag",
            id="no image",
        ),
        pytest.param(
            [{"phase": "Running"}, pending(conditions=UNSCHEDULABLE)],
            "0/5 nodes are available",
            id="one of several",
        ),
    ],
)
def test_waiting_of(pods: list[dict[str, Any]], said: str) -> None:
    assert waiting_of(observing.pod(**status) for status in pods) == said
