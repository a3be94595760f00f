"""docs/architecture.md names files and folders that are there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {name: ROOT / name / "src" / f"finetune_{name}" for name in ("operator", "trainer", "converter")}
CHILDREN = ("operator/src/finetune_operator/finetune", "operator/src/finetune_operator/serving")
# Of a base, not of this tree.
ELSEWHERE = frozenset({"config.json", "run.json", "MANIFEST.json"})


def rows() -> Iterator[tuple[str, list[str]]]:
    """Yield the section of each row of a table, and the paths that the row names."""
    section = ""
    for line in (ROOT / "docs/architecture.md").read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").rstrip("/")
        elif line.startswith("|"):
            names = re.findall(r"`([\w/.-]+(?:\.py|\.json|/))`", line)
            if paths := [name for name in names if name not in ELSEWHERE]:
                yield section, paths


def is_there(section: str, paths: list[str], index: int) -> bool:
    """Return whether a path is in the section's package, in another, or beside one that its row names."""
    path = paths[index]
    packages = [SOURCES[section]] if section in SOURCES else []
    roots = [*packages, *SOURCES.values(), ROOT, *(ROOT / parent for parent in CHILDREN)]
    beside = [Path(other) if other.endswith("/") else Path(other).parent for other in paths[:index]]
    return any((root / folder / path).exists() for root in roots for folder in (Path(), *beside))


@pytest.mark.parametrize(
    ("section", "paths"),
    [pytest.param(section, paths, id=f"{section}: {paths[0]}") for section, paths in rows()],
)
def test_every_path_is_there(section: str, paths: list[str]) -> None:
    assert [path for index, path in enumerate(paths) if not is_there(section, paths, index)] == []
