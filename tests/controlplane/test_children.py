"""The objects that the operator makes are accepted by a real API server in a restricted namespace."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.commands import Run

GOLDEN = Path(__file__).parents[1] / "golden" / "children"
CHILDREN = [
    pytest.param(child, id=f"{file.stem}-{child['kind']}-{child['metadata']['name']}")
    for file in sorted(GOLDEN.glob("*.yaml"))
    if not file.stem.endswith(".manifest")
    for child in yaml.safe_load_all(file.read_text())
]


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize("child", CHILDREN)
def test_a_child_is_accepted_without_a_warning(kubectl: Run, namespace: str, child: dict[str, Any]) -> None:
    here = child | {"metadata": child["metadata"] | {"namespace": namespace}}
    applied = kubectl("apply", "--server-side", "--dry-run=server", "--filename=-", stdin=json.dumps(here))
    assert "Warning" not in applied.stderr
