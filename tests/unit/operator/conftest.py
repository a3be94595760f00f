"""Golden files of children, for both kinds, and objects as a watch brings them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


class Objects:
    """Objects of one namespace; the arguments are what tells them apart."""

    def make(
        self, kind: str, name: str, *, version: int = 1, uid: str = "", owner: str = "", **fields: Any
    ) -> dict[str, Any]:
        metadata: dict[str, Any] = {
            "name": name,
            "namespace": "ml",
            "uid": uid or f"uid-of-{name}",
            "resourceVersion": str(version),
            "generation": 1,
            "labels": fields.pop("labels", {}),
            "managedFields": [{"manager": "somebody"}],
        }
        if owner:
            reference = {
                "apiVersion": "finetune.dev/v1alpha1",
                "kind": "FineTuneJob",
                "name": "faq",
                "uid": owner,
            }
            metadata["ownerReferences"] = [reference]
        api_version = "finetune.dev/v1alpha1" if kind in ("FineTuneJob", "ModelDeployment") else "v1"
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


@pytest.fixture
def objects() -> Objects:
    return Objects()
