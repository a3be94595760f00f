"""The rules of a spec are evaluated when it is new, not at each reconcile."""

from typing import Any

import observing
import pytest

from finetune_operator.api.base import RULES_OBEYED
from finetune_operator.kinds import context_of

STALLED = [{"type": "Stalled", "status": "True"}]


@pytest.mark.parametrize(
    ("status", "context"),
    [
        pytest.param({}, None, id="new"),
        pytest.param({"observedGeneration": 1, "conditions": []}, None, id="changed"),
        pytest.param({"observedGeneration": 2, "conditions": []}, RULES_OBEYED, id="reconciled"),
        pytest.param({"observedGeneration": 2, "conditions": STALLED}, None, id="refused"),
    ],
)
def test_what_is_known_of_a_spec(
    objects: Any, status: dict[str, Any], context: dict[str, str] | None
) -> None:
    parent = objects.make("ModelDeployment", "faq", spec={}, status=status)
    parent["metadata"]["generation"] = 2
    assert context_of(observing.parent(parent)) == context
