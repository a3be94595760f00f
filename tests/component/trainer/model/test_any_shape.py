"""Random members of the families: whatever their numbers are, the model is transformers'."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from auto_model import assert_same_logits
from hypothesis import HealthCheck, given, settings
from peft_losses import assert_losses_of_peft
from random_families import write_random_base
from random_members import members

from finetune_trainer.base.hf_config import shape_of_base
from finetune_trainer.base.shape import difference
from finetune_trainer.model.build import shape_of
from finetune_trainer.model.flavors import build_model_config
from finetune_trainer.prepare.architecture import check_architecture, check_tensors

pytestmark = pytest.mark.usefixtures("plain_tensors")


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,  # a draw with a near tie between two experts would fail once in a while
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(config=members())
def test_a_random_member_is_transformers_model(config: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = write_random_base(folder, config, prediction_layers=config["num_nextn_predict_layers"])
        check_architecture("auto", folder)
        check_tensors("auto", folder)
        assert_same_logits(base)


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(config=members())
def test_a_random_member_trains_as_with_peft(config: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        assert_losses_of_peft(write_random_base(Path(name), config, seed=1))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=members())
def test_what_is_built_of_a_shape_has_it(config: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(config))
        built = shape_of(build_model_config("auto", device="cpu", base=folder))
        assert built == shape_of_base(folder)
        assert difference(built, config, folder / "config.json") is None
