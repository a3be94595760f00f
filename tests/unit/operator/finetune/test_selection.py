"""Which step the adapter is, from what the trainer tells at its end to the status."""

import json

import pytest
from fake_cluster import FakeCluster, JobBuilder

from finetune_operator.finetune.selection import Selected, read_selection

TOLD = {
    "step": 20,
    "why": "the least validation loss of the saved steps, 1.5, 3 before training",
    "validationLoss": 1.5,
    "firstValidationLoss": 3.0,
    "stoppedEarly": True,
}


@pytest.mark.parametrize(
    ("result", "selected"),
    [
        pytest.param(
            json.dumps({"selection": TOLD}),
            Selected(
                step=20, why=TOLD["why"], validation_loss=1.5, first_validation_loss=3.0, stopped_early=True
            ),
            id="whole",
        ),
        pytest.param(
            '{"selection": {"step": 3, "why": "x", "validationLoss": NaN, "stoppedEarly": "yes"}}',
            Selected(step=3, why="x"),
            id="garbled in part",
        ),
        pytest.param('{"selection": {"step": -1, "why": "x"}}', None, id="no step"),
        pytest.param('{"selection": {"step": 1}}', None, id="no reason"),
        pytest.param('{"selection": 3}', None, id="no object"),
        pytest.param("[" * 100_000, None, id="brackets"),
        pytest.param("", None, id="of a trainer that tells nothing"),
    ],
)
def test_what_a_trainer_tells(result: str, selected: Selected | None) -> None:
    assert read_selection(result) == selected


def test_the_status_says_which_step_and_goes_on_saying_so(job: JobBuilder) -> None:
    cluster = FakeCluster(job())
    cluster.reconcile()
    cluster.end(0)
    cluster.reconcile()
    train = cluster.active
    assert train is not None
    cluster.end(0, told=json.dumps({"selection": TOLD}))
    assert cluster.reconcile().status["selection"] == TOLD
    train["pods"] = []
    status = cluster.reconcile().status
    assert status["selection"] == TOLD
    trained = next(c for c in status["conditions"] if c["type"] == "Trained")
    assert trained["message"] == f"The adapter is trained and saved; it is step 20: {TOLD['why']}"
