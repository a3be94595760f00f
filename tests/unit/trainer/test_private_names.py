"""Private names of torch and torchtitan that the trainer uses are those in docs/notes/private-names.md."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
ROOMS = ("checkpoint", "distributed", "model", "train")
SOURCES = [
    file for room in ROOMS for file in sorted((ROOT / "trainer/src/finetune_trainer" / room).rglob("*.py"))
]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


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


def test_each_private_name_is_listed_with_its_reason() -> None:
    trees = [ast.parse(file.read_text()) for file in SOURCES]
    own = {name for tree in trees for name in defined(tree)}
    foreign = {name for tree in trees for name in used(tree)} - own
    table = [
        line for line in (ROOT / "docs/notes/private-names.md").read_text().splitlines() if line[:3] == "| `"
    ]
    listed = {name for line in table for name in re.findall(r"`(\w+)`", line.split(" | ")[0])}
    assert foreign == listed
