"""What is said of a parent that cannot go on."""

from datetime import UTC, datetime
from typing import Any

import observing

from finetune_operator.core.refusal import Refusal, RefusalReason, is_said, with_refusal

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REFUSAL = Refusal(reason=RefusalReason.CHILD_REFUSED, message="The API refuses Job a: exceeded quota")


def test_stalled_replaces_what_was_said_of_going_on_and_the_rest_stays(objects: Any) -> None:
    status = {
        "phase": "Preparing",
        "conditions": [
            {"type": "Prepared", "status": "False", "reason": "Preparing", "message": ""},
            {"type": "Reconciling", "status": "True", "reason": "Preparing", "message": ""},
        ],
    }
    parent = objects.make("FineTuneJob", "faq", spec={})
    refused = with_refusal(status, REFUSAL, observing.parent(parent), NOW)
    assert [(c["type"], c["status"], c["reason"]) for c in refused["conditions"]] == [
        ("Prepared", "False", "Preparing"),
        ("Reconciling", "False", "ChildRefused"),
        ("Stalled", "True", "ChildRefused"),
    ]
    assert not is_said(observing.parent(parent), REFUSAL)
    assert is_said(observing.parent({**parent, "status": refused}), REFUSAL)
