"""GET /metrics of a stage: the names of contract/metrics.json, read from the sources of both packages."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
METRICS = json.loads((ROOT / "contract/metrics.json").read_text())


def table(file: str, name: str) -> dict[str, str]:
    """A dict that is written down in a file, by its name."""
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        target: Any = node.target if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [None])[0]
        if isinstance(target, ast.Name) and target.id == name:
            return dict(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    raise AssertionError(f"no {name} in {file}")


@pytest.mark.parametrize(
    ("package", "names"),
    [
        (
            "trainer",
            {
                f"finetune_{field}"
                for field in table("trainer/src/finetune_trainer/contract/progress/server.py", "_HELP")
            },
        ),
        ("converter", set(table("converter/src/finetune_converter/progress.py", "METRICS"))),
    ],
    ids=["trainer", "converter"],
)
def test_names_of_the_contract(package: str, names: set[str]) -> None:
    assert names == {name for name, metric in METRICS.items() if package in metric["by"]}
