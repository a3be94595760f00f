"""Conditions by KEP-1623."""

from datetime import UTC, datetime
from typing import Any

import pytest

from finetune_operator.core.conditions import Condition, events_of, set_conditions
from finetune_operator.core.plan import Event

THEN, NOW = "2026-01-01T00:00:00Z", datetime(2026, 1, 2, tzinfo=UTC)


def before(status: str, reason: str = "Old") -> list[dict[str, Any]]:
    return [{"type": "Trained", "status": status, "reason": reason, "lastTransitionTime": THEN}]


@pytest.mark.parametrize(
    ("previous", "since", "expected"),
    [
        pytest.param([], None, "2026-01-02T00:00:00Z", id="new: now"),
        pytest.param(
            [], datetime(2026, 1, 1, 12, tzinfo=UTC), "2026-01-01T12:00:00Z", id="new: when it was seen"
        ),
        pytest.param(before("True"), None, THEN, id="same status, other reason: kept"),
        pytest.param(before("False"), None, "2026-01-02T00:00:00Z", id="changed: now"),
    ],
)
def test_transition_time(previous: list[dict[str, Any]], since: datetime | None, expected: str) -> None:
    condition = Condition(type="Trained", status="True", reason="Done", message="m", since=since)
    assert set_conditions(previous, [condition], generation=3, now=NOW) == [
        {
            "type": "Trained",
            "status": "True",
            "observedGeneration": 3,
            "lastTransitionTime": expected,
            "reason": "Done",
            "message": "m",
        }
    ]


@pytest.mark.parametrize(
    ("previous", "condition", "expected"),
    [
        pytest.param(
            before("False"),
            Condition(type="Trained", status="True", reason="Done", message="m"),
            (Event(type="Normal", reason="Done", message="m"),),
            id="became true",
        ),
        pytest.param(
            before("True", "Done"), Condition(type="Trained", status="True", reason="Done"), (), id="same"
        ),
        pytest.param(
            before("True"), Condition(type="Trained", status="False", reason="Old"), (), id="became false"
        ),
        pytest.param(
            before("False"),
            Condition(type="Trained", status="False", reason="Broken", message="m", failure=True),
            (Event(type="Warning", reason="Broken", message="m"),),
            id="a new failure",
        ),
    ],
)
def test_events(previous: list[dict[str, Any]], condition: Condition, expected: tuple[Event, ...]) -> None:
    assert events_of(previous, [condition]) == expected
