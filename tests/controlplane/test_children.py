"""The objects that the operator makes are accepted by a real API server in a restricted namespace."""

import json
from typing import Any

import pytest
from cluster.commands import Run
from golden_children import golden_children


@pytest.mark.usefixtures("crds", "optional_apis")
@pytest.mark.parametrize("child", golden_children())
def test_a_child_is_accepted_without_a_warning(kubectl: Run, namespace: str, child: dict[str, Any]) -> None:
    here = child | {"metadata": child["metadata"] | {"namespace": namespace}}
    applied = kubectl("apply", "--server-side", "--dry-run=server", "--filename=-", stdin=json.dumps(here))
    assert "Warning" not in applied.stderr
