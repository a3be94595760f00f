"""The rules of a spec are evaluated when it is new, not at each reconcile."""

from typing import Any

import pytest

from finetune_operator.api.base import RULES_OBEYED
from finetune_operator.kube.parents import context_of

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
def test_what_is_known_of_a_spec(status: dict[str, Any], context: dict[str, str] | None) -> None:
    assert context_of({"metadata": {"generation": 2}, "status": status}) == context
