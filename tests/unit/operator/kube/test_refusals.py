"""What is said of a parent that cannot go on."""

from datetime import UTC, datetime
from typing import Any

from finetune_operator.kube.refusals import Reason, Refusal, is_said, with_refusal

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REFUSAL = Refusal(reason=Reason.CHILD_REFUSED, message="The API refuses Job a: exceeded quota")


def test_stalled_replaces_what_was_said_of_going_on_and_the_rest_stays(objects: Any) -> None:
    status = {
        "phase": "Preparing",
        "conditions": [
            {"type": "Prepared", "status": "False", "reason": "Preparing", "message": ""},
            {"type": "Reconciling", "status": "True", "reason": "Preparing", "message": ""},
        ],
    }
    parent = objects.make("FineTuneJob", "faq", spec={})
    refused = with_refusal(status, REFUSAL, parent, NOW)
    assert [(c["type"], c["status"], c["reason"]) for c in refused["conditions"]] == [
        ("Prepared", "False", "Preparing"),
        ("Reconciling", "False", "ChildRefused"),
        ("Stalled", "True", "ChildRefused"),
    ]
    assert not is_said(parent, REFUSAL)
    assert is_said({**parent, "status": refused}, REFUSAL)
