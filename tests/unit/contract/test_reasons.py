"""Reasons and exit codes are those of contract/: read from the sources, as the packages share no code."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune_operator.core import termination

ROOT = Path(__file__).parents[3]
REASONS = json.loads((ROOT / "contract/reasons.json").read_text())
EXIT_CODES = json.loads((ROOT / "contract/exit-codes.json").read_text())
TRAINER = ROOT / "trainer/src/finetune_trainer"
CONVERTER = ROOT / "converter/src/finetune_converter"


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def values(node: ast.ClassDef) -> dict[str, Any]:
    """NAME = "value" of an enum, or of any class."""
    return {
        each.targets[0].id: each.value.value
        for each in node.body
        if isinstance(each, ast.Assign)
        and isinstance(each.targets[0], ast.Name)
        and isinstance(each.value, ast.Constant)
    }


def classes(file: Path) -> dict[str, dict[str, Any]]:
    return {node.name: values(node) for node in parsed(file).body if isinstance(node, ast.ClassDef)}


def said_by(package: str) -> set[str]:
    return {name for name, reason in REASONS.items() if package in reason["by"]}


def raised(sources: Path, kinds: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Each failure and the reason that it is raised with."""
    for file in sources.rglob("*.py"):
        for call in (node for node in ast.walk(parsed(file)) if isinstance(node, ast.Call)):
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            for argument in call.args if "exit_code" in kinds.get(name, {}) else ():
                match argument:
                    case ast.Attribute(value=ast.Name(id="Reason"), attr=reason):
                        yield name, kinds["Reason"][reason]


def test_the_trainer_says_reasons_of_the_contract() -> None:
    kinds = classes(TRAINER / "contract/failure.py")
    assert set(kinds["Reason"].values()) == said_by("trainer")
    found = set(raised(TRAINER, kinds))
    assert {(name, REASONS[reason]["exitCode"]) for name, reason in found} == {
        (name, kinds[name]["exit_code"]) for name, _ in found
    }


def test_the_converter_says_reasons_of_the_contract() -> None:
    file = CONVERTER / "failure.py"
    kinds = classes(file)
    assert set(kinds["Reason"].values()) == said_by("converter")
    (codes,) = (
        node.value
        for node in parsed(file).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXIT_CODES"
    )
    assert isinstance(codes, ast.Dict)
    for key, value in zip(codes.keys, codes.values, strict=True):
        assert isinstance(key, ast.Attribute)
        assert isinstance(value, ast.Attribute)
        assert REASONS[kinds["Reason"][key.attr]]["exitCode"] == kinds["ExitCode"][value.attr]


def test_the_operator_says_reasons_of_the_contract() -> None:
    own = {termination.OUT_OF_HOST_MEMORY, termination.EVICTED}
    assert {*termination.DEFAULT_REASONS.values(), *own} == said_by("operator")
    for code, reason in termination.DEFAULT_REASONS.items():
        assert REASONS[reason]["exitCode"] == code


def test_exit_codes_of_reasons_are_the_contracts() -> None:
    # 1 is a defect, and 137 a kill: neither is chosen by a stage.
    assert {str(reason["exitCode"]) for reason in REASONS.values()} - {"1", "137"} <= EXIT_CODES.keys()
