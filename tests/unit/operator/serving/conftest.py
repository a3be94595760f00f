"""Builders of deployments."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune_operator.api.deployment import ModelDeployment


@pytest.fixture
def deployment() -> Callable[..., ModelDeployment]:
    """Return a deployment of job faq's model; keyword arguments are fields of the spec."""

    def deployment(status: dict[str, Any] | None = None, **spec: Any) -> ModelDeployment:
        manifest = {
            "apiVersion": "finetune.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": "faq", "namespace": "default", "uid": "u-2", "generation": 1},
            "spec": {"model": {"fineTuneJobRef": {"name": "faq"}}, **spec},
        }
        return ModelDeployment.model_validate({**manifest, "status": status} if status else manifest)

    return deployment
