"""What every model of the API does alike."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune_operator.api.deployment import RolloutSpec
from finetune_operator.api.field_errors import field_errors
from finetune_operator.api.job import FineTuneJob
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
