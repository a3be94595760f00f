"""The Python that guides and notebooks show, to be run as it stands."""

import json
from itertools import takewhile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def guide_code(guide: str, heading: str) -> list[str]:
    """The Python blocks under a heading of docs/guides/."""
    lines = iter((ROOT / "docs" / "guides" / guide).read_text(encoding="utf-8").splitlines())
    section = "\n".join(_after(lines, heading))
    return [block.partition("\n```")[0] for block in section.split("```python\n")[1:]]


def notebook_code(notebook: str) -> list[str]:
    """The code cells of a notebook of examples/, which has to be of Jupyter's format 4.5, without outputs."""
    content = json.loads((ROOT / "examples" / notebook).read_text(encoding="utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    cells = content["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    for cell in cells:
        own = {"outputs", "execution_count"} if cell["cell_type"] == "code" else set()
        assert set(cell) == {"cell_type", "id", "metadata", "source"} | own
        assert not cell.get("outputs")
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def run_code(blocks: list[str], where: str) -> dict[str, Any]:
    """Run blocks one after the other, as a reader would; returns their names."""
    assert blocks
    names: dict[str, Any] = {}
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"{where}, block {number}", "exec"), names)
    return names


def _after(lines: Any, heading: str) -> list[str]:
    for line in lines:
        if line == heading:
            return list(takewhile(lambda line: not line.startswith("## "), lines))
    raise AssertionError(f"no {heading}")
