"""The objects that the operator makes, as its golden files have them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

GOLDEN = Path(__file__).parents[1] / "golden" / "children"


def golden_children() -> list[Any]:
    """Each as a parameter of a test, named by its file, kind and name."""
    return [
        pytest.param(child, id=f"{file.stem}-{child['kind']}-{child['metadata']['name']}")
        for file in sorted(GOLDEN.glob("*.yaml"))
        if not file.stem.endswith(".manifest")
        for child in yaml.safe_load_all(file.read_text())
    ]
