"""The model of every family, built from its config.json, computes what transformers' own class computes."""

from pathlib import Path

import pytest
from auto_model import assert_same_logits
from peft_losses import assert_losses_of_peft
from random_families import FAMILIES, write_random_base

from finetune_trainer.base.families import FAMILIES as PROFILES
from finetune_trainer.prepare.architecture import check_architecture, check_tensors
from finetune_trainer.prepare.parity import compare_with_transformers

pytestmark = pytest.mark.usefixtures("plain_tensors")


def test_every_model_that_the_guide_names_is_of_a_shape_that_is_tried() -> None:
    assert {model.shape for family in PROFILES.values() for model in family.models} == FAMILIES.keys()


@pytest.mark.parametrize("prediction_layers", [0, 1])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_transformers(tmp_path: Path, family: str, prediction_layers: int) -> None:
    base = write_random_base(tmp_path, FAMILIES[family], prediction_layers=prediction_layers)
    check_architecture("auto", tmp_path)
    check_tensors("auto", tmp_path)
    assert_same_logits(base)


@pytest.mark.parametrize("family", FAMILIES)
def test_prepare_compares_with_transformers_class(tmp_path: Path, family: str) -> None:
    base = write_random_base(tmp_path, FAMILIES[family])
    report = compare_with_transformers("auto", tmp_path)
    assert report is not None
    assert report.compared_with == type(base.model).__name__
    assert report.greatest_difference < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_five_steps_have_the_losses_of_peft(tmp_path: Path, family: str) -> None:
    base = write_random_base(tmp_path, FAMILIES[family], seed=1)  # without near ties between experts
    losses = assert_losses_of_peft(base)
    assert losses[-1] < losses[0] - 0.2
