"""Builders of manifests."""

from collections.abc import Callable
from typing import Any

import pytest

Manifest = dict[str, Any]


@pytest.fixture
def job() -> Callable[..., Manifest]:
    """Return the smallest FineTuneJob; keyword arguments are fields of the spec, None leaves one out."""

    def job(**spec: Any) -> Manifest:
        smallest = {
            "model": {"uri": "models/tiny"},
            "flavor": "tiny_lora",
            "dataset": {"uri": "datasets/faq.jsonl"},
            "training": {"steps": 10},
            "storage": {"claimName": "shared"},
        }
        return _manifest("FineTuneJob", {**smallest, **spec})

    return job


@pytest.fixture
def deployment() -> Callable[..., Manifest]:
    """Return the smallest ModelDeployment; keyword arguments are fields of the spec, None leaves one out."""

    def deployment(**spec: Any) -> Manifest:
        return _manifest("ModelDeployment", {"model": {"fineTuneJobRef": {"name": "faq"}}, **spec})

    return deployment


def _manifest(kind: str, spec: Manifest) -> Manifest:
    return {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "faq"},
        "spec": {name: value for name, value in spec.items() if value is not None},
    }
