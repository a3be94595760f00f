"""Why a pod does not run yet."""

from typing import Any

import observing
import pytest

from finetune_operator.core.observed.pod import waiting_of
from finetune_operator.core.termination import cause_of


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


def test_a_container_that_the_kernel_killed_is_the_cause_though_its_peers_ended_first() -> None:
    def ended(code: int, reason: str, second: int) -> dict[str, Any]:
        moment = f"2026-01-01T00:00:{second:02}Z"
        terminated = {"exitCode": code, "reason": reason, "message": "", "finishedAt": moment}
        return {"phase": "Failed", "containerStatuses": [{"state": {"terminated": terminated}}]}

    pods = [observing.pod(**ended(11, "Error", 1)), observing.pod(**ended(137, "OOMKilled", 2))]
    cause = cause_of(tuple(end for pod in pods for end in pod.ends))
    assert cause is not None
    assert cause.reason == "OutOfHostMemory"
    assert cause.sentence.startswith(
        "The kernel killed it (OOMKilled): it took more host memory than its limit"
    )
