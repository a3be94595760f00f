"""How objects are, taken together: a failure that is forgiven is none any more."""

from typing import Any

import pytest

from finetune_operator.core.verdict import State, verdict_of

EARLY, LATE = "2026-11-28T10:00:00Z", "2026-11-28T11:00:00Z"


def job(type_: str, annotations: dict[str, str] | None = None, generation: int = 1) -> dict[str, Any]:
    condition = {"type": type_, "status": "True", "lastTransitionTime": EARLY, "message": "It broke"}
    metadata = {"name": "faq", "generation": generation, "annotations": annotations}
    status = {"observedGeneration": 1, "conditions": [condition]}
    return {"kind": "FineTuneJob", "metadata": metadata, "status": status}


@pytest.mark.parametrize(
    ("parent", "state"),
    [
        pytest.param(job("Complete"), State.READY, id="complete"),
        pytest.param(job("Failed"), State.FAILED, id="failed"),
        pytest.param(job("Failed", {"finetune.dev/retried-at": EARLY}), State.GOING_ON, id="to be retried"),
        pytest.param(job("Failed", {"finetune.dev/retried-at": LATE}), State.GOING_ON, id="retried later"),
        pytest.param(job("Failed", {"finetune.dev/retried-at": ""}), State.FAILED, id="retried never"),
        pytest.param(job("Stalled", {"finetune.dev/retried-at": LATE}), State.FAILED, id="stalled"),
        pytest.param(job("Failed", generation=2), State.GOING_ON, id="changed since"),
    ],
)
def test_the_state_of_a_job(parent: dict[str, Any], state: State) -> None:
    assert verdict_of([parent]).state is state
