"""Builders of objects as a watch brings them."""

from typing import Any

import pytest


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
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields}


@pytest.fixture
def objects() -> Objects:
    return Objects()
