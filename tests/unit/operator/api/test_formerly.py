"""An older manifest: what to write in the place of each field that has another name now."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune_operator.api.base import ApiModel
from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.field_errors import field_errors
from finetune_operator.api.formerly import FORMERLY
from finetune_operator.api.job import FineTuneJob

Build = Callable[..., dict[str, Any]]
POD: dict[str, Any] = {"tolerations": []}


@pytest.mark.parametrize(
    ("old", "kind", "spec", "error"),
    [
        (
            "podTemplate",
            FineTuneJob,
            {"workers": {"podTemplate": POD}},
            "spec.workers.podTemplate: is no field here; write podOverrides",
        ),
        (
            "restartPolicy",
            FineTuneJob,
            {"restartPolicy": {"maxRestarts": 1}},
            "spec.restartPolicy: is no field here; write failurePolicy",
        ),
        (
            "fineTuneJob",
            ModelDeployment,
            {"model": {"fineTuneJob": "faq"}},
            "spec.model.fineTuneJob: is no field here; write fineTuneJobRef: {name: faq}",
        ),
        (
            "gpusPerNode: 0",
            FineTuneJob,
            {"workers": {"gpusPerNode": 0}},
            "spec.workers.gpusPerNode: is 0; remove it, and write device: cpu",
        ),
        (
            "gpus: 0",
            ModelDeployment,
            {"gpus": 0},
            "spec.gpus: is 0; remove it, and write device: cpu",
        ),
    ],
    ids=FORMERLY,
)
def test_names_what_to_write_for_what_was_written_before(
    job: Build, deployment: Build, old: str, kind: type[ApiModel], spec: dict[str, Any], error: str
) -> None:
    assert old in FORMERLY
    manifest = job(**spec) if kind is FineTuneJob else deployment(**spec)
    assert [str(found) for found in field_errors(kind, manifest)] == [error]
