"""Environment variables between our packages: each is in the contract, set by one and read by others."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
README = (ROOT / "contract/README.md").read_text()
NAME = re.compile(r"FINETUNE_[A-Z_]+")
# Of one package alone: where the command line looks, what it tells the command that it starts, and a probe's.
OWN = {"FINETUNE_ENVS", "FINETUNE_STORAGE", "FINETUNE_PROBE"}


def named(package: str) -> set[str]:
    """The variables that a package's sources name."""
    files = (ROOT / package / "src").rglob("*.py")
    return {name for file in files for name in NAME.findall(file.read_text())}


BY_STAGES = named("trainer") | named("converter")


@pytest.mark.parametrize("name", sorted(BY_STAGES))
def test_what_a_stage_reads_the_operator_sets_and_the_contract_describes(name: str) -> None:
    assert name in named("operator")
    assert f"`{name}`" in README


def test_nothing_else_is_set() -> None:
    assert named("operator") - OWN == BY_STAGES == set(NAME.findall(README))
