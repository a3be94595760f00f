"""What every model of the API does alike."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import Field

from finetune_operator.api.base import ApiModel
from finetune_operator.api.crd import custom_resource_definition
from finetune_operator.api.field_errors import field_errors
from finetune_operator.api.job import FineTuneJob
from finetune_operator.api.resources import RESOURCES
from finetune_operator.api.rollout import RolloutSpec
from finetune_operator.api.training import TrainingSpec

Build = Callable[..., dict[str, Any]]


def pythonic(model: type[TrainingSpec] | type[RolloutSpec]) -> dict[str, str]:
    """Fields whose name in Python is not the one in YAML."""
    fields = {name: str(field.alias) for name, field in model.model_fields.items()}
    return {name: alias for name, alias in fields.items() if name != alias}


@pytest.mark.parametrize(
    ("path", "alias"),
    [
        *((("training", name), alias) for name, alias in pythonic(TrainingSpec).items()),
        *((("deployment", "rollout", name), alias) for name, alias in pythonic(RolloutSpec).items()),
        (("ttl_seconds_after_finished",), "ttlSecondsAfterFinished"),
        (("dataset", "validation_share"), "validationShare"),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else value,
)
def test_takes_a_field_by_its_name_in_yaml_alone(job: Build, path: tuple[str, ...], alias: str) -> None:
    """learning_rate would take effect on this machine, and the cluster refuses it."""
    manifest = job()
    *owners, name = path
    target = manifest["spec"]
    for owner in owners:
        target = target.setdefault(owner, {})
    target[name] = 1
    (error,) = field_errors(FineTuneJob, manifest)
    assert str(error) == f"spec.{'.'.join(path)}: is no field here; did you mean {alias}?"


class Part(ApiModel):
    """A part."""

    share: float = 0.0002
    """Of what is held out."""

    rollback: bool = True
    """Go back."""

    targets: list[str] = Field(default=["attention", "mlp"])
    """Which get one."""

    columns: list[str] = Field(default=[])
    """Which are unused."""

    revision: str | None = None
    """Of a hub's model. Default: main."""


def test_a_description_ends_with_the_default_of_its_field() -> None:
    properties = Part.model_json_schema()["properties"]
    assert {name: schema["description"] for name, schema in properties.items()} == {
        "share": "Of what is held out. Default: 0.0002.",
        "rollback": "Go back. Default: true.",
        "targets": "Which get one. Default: [attention, mlp].",
        "columns": "Which are unused.",
        "revision": "Of a hub's model. Default: main.",
    }


def test_no_description_says_a_default_twice() -> None:
    for resource in RESOURCES:
        definition = json.dumps(custom_resource_definition(resource))
        assert not re.findall(r"Default: [^\"]*Default: [^\"]*", definition)
