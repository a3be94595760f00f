"""Builders of jobs and of what was observed of them."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune_operator.api.job import FineTuneJob


@pytest.fixture
def job() -> Callable[..., FineTuneJob]:
    """Return a small job; keyword arguments are fields of the spec."""

    def job(status: dict[str, Any] | None = None, **spec: Any) -> FineTuneJob:
        base = {
            "model": {"uri": "models/tiny-base"},
            "flavor": "tiny_lora",
            "dataset": {"uri": "datasets/faq.jsonl"},
            "training": {"steps": 10},
            "workers": {"device": "cpu"},
            "storage": {"claimName": "shared"},
        }
        manifest = {
            "apiVersion": "finetune.dev/v1alpha1",
            "kind": "FineTuneJob",
            "metadata": {"name": "faq", "namespace": "default", "uid": "u-1", "generation": 1},
            "spec": {**base, **spec},
        }
        return FineTuneJob.model_validate({**manifest, "status": status} if status else manifest)

    return job
