"""Private names of torch and torchtitan that the trainer uses are those in docs/notes/private-names.md."""

import ast
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[3]
SOURCES = sorted((ROOT / "trainer/src/finetune_trainer").rglob("*.py"))
LISTED = (ROOT / "docs/notes/private-names.md").read_text()


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in ("_", "_exit")


def used(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            yield node.attr
        if isinstance(node, ast.ImportFrom) and node.module:
            in_private = any(map(is_private, node.module.split(".")))
            yield from (alias.name for alias in node.names if in_private or is_private(alias.name))


def defined(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr
        if isinstance(node, ast.arg):
            yield node.arg


def of_torchtitan(tree: ast.Module) -> Iterator[str]:
    """Private names that are defined where a module of ours imports torchtitan's classes from."""
    spec = find_spec("torchtitan")
    assert spec
    assert spec.submodule_search_locations
    root = Path(spec.submodule_search_locations[0])
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    for module in imported:
        if module.startswith("torchtitan."):
            place = root.joinpath(*module.split(".")[1:])
            for file in [*place.glob("*.py"), place.with_suffix(".py"), root / "protocols/module.py"]:
                if file.exists():
                    yield from filter(is_private, defined(ast.parse(file.read_text())))


def in_table(heading: str) -> set[str]:
    table = LISTED.split(f"## {heading}")[1].split("##")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row.split(" | ")[0])}


def test_each_used_name_is_listed_with_its_reason() -> None:
    """Also none of ours is used in another file than its own."""
    trees = [ast.parse(file.read_text()) for file in SOURCES]
    assert {name for tree in trees for name in {*used(tree)} - {*defined(tree)}} == in_table("Used")


def test_each_override_is_listed_with_its_reason() -> None:
    trees = [ast.parse(file.read_text()) for file in SOURCES]
    found = {name for tree in trees for name in {*defined(tree)} & {*of_torchtitan(tree)}}
    assert found == in_table("Overridden")
