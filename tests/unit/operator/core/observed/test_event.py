"""Events of children: which is the newest cause, and that whatever one says ends in one bounded line."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.core.observed.event import newest_cause, observe_event
from finetune_operator.core.wait_reason import WaitReason
from finetune_operator.core.waiting import Wait, explained

TIMES = st.none() | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)
EVENTS = st.fixed_dictionaries(
    {"metadata": st.fixed_dictionaries({}, optional={"creationTimestamp": TIMES})},
    optional={
        "reason": st.text(),
        "message": st.text(),
        "lastTimestamp": TIMES,
        "eventTime": TIMES,
        "firstTimestamp": TIMES,
        "series": st.none() | st.fixed_dictionaries({"lastObservedTime": TIMES}),
    },
)


@given(st.lists(EVENTS), st.sampled_from(WaitReason))
def test_whatever_events_say_is_one_bounded_line(events: list[dict[str, Any]], reason: WaitReason) -> None:
    cause = newest_cause(map(observe_event, events))
    wait = Wait(reason=reason, name="pod", since=datetime(2026, 1, 1, tzinfo=UTC))
    sentence = explained(wait, cause.sentence if cause else "").sentence
    assert "\n" not in sentence
    assert len(sentence) < 1500


def event(reason: str, **times: Any) -> dict[str, Any]:
    return {"metadata": {}, "reason": reason, "message": "m", **times}


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        pytest.param([], None, id="none"),
        pytest.param([event("FailedMount")], None, id="without any time"),
        pytest.param([event("Scheduled", eventTime="2026-01-01T00:00:00.123456Z")], None, id="no cause"),
        pytest.param(
            [
                event("FailedMount", lastTimestamp="2026-01-01T00:00:09Z"),
                event("Pulling", eventTime="2026-01-01T00:00:08.5Z"),
            ],
            "FailedMount",
            id="the one that was seen last",
        ),
        pytest.param(
            [
                event(
                    "FailedCreate",
                    eventTime="2026-01-01T00:00:00.1Z",
                    series={"count": 9, "lastObservedTime": "2026-01-01T00:01:00.1Z"},
                ),
                event("Other", eventTime="2026-01-01T00:00:30Z"),
            ],
            "FailedCreate",
            id="a series of events.k8s.io",
        ),
    ],
)  # fmt: skip
def test_the_newest_cause(events: list[dict[str, Any]], reason: str | None) -> None:
    cause = newest_cause(map(observe_event, events))
    assert (cause.reason if cause else None) == reason
