"""Golden files of children, for both kinds."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from finetune_operator.core.objects import Manifest

CHILDREN = Path(__file__).parents[2] / "golden" / "children"


class PlainDumper(yaml.SafeDumper):
    """Writes no aliases, and strings of several lines as blocks."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def _block(dumper: PlainDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


PlainDumper.add_representer(str, _block)


@pytest.fixture
def golden_manifest() -> Callable[[str], Manifest]:
    """Return the manifest whose children are in the golden file of a name."""

    def golden_manifest(name: str) -> Manifest:
        manifest: Manifest = yaml.safe_load((CHILDREN / f"{name}.manifest.yaml").read_text())
        return manifest

    return golden_manifest


@pytest.fixture
def check_children() -> Callable[[str, list[Manifest]], None]:
    """Return what compares children with the golden file of a name; UPDATE_GOLDEN=1 writes it anew."""

    def check_children(name: str, children: list[Manifest]) -> None:
        path = CHILDREN / f"{name}.yaml"
        text = yaml.dump_all(children, Dumper=PlainDumper, sort_keys=False, allow_unicode=True)
        if os.environ.get("UPDATE_GOLDEN"):
            path.write_text(text)
        assert text == path.read_text()

    return check_children
