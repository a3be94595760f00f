"""The model of every family, built from its config.json, computes what transformers' own class computes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from auto_model import ADAPTERS, assert_same_logits, loaded
from peft import LoraConfig, get_peft_model
from random_families import FAMILIES, RandomBase, write_random_base

from finetune_trainer.base.families import FAMILIES as PROFILES
from finetune_trainer.model.lora.initialize import initialize_adapters
from finetune_trainer.model.lora.names import is_adapter
from finetune_trainer.model.names import CheckpointNames
from finetune_trainer.prepare.architecture import check_architecture, check_tensors
from finetune_trainer.prepare.parity import compare_with_transformers

pytestmark = pytest.mark.usefixtures("plain_tensors")


PROJECTIONS = ["q_proj", "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"]
STEPS, RATE = 5, 2e-3


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
    ours = loaded(tmp_path, "attention").train()
    initialize_adapters(ours, seed=7)
    theirs = _with_peft(base, ours)
    positions = torch.arange(40).repeat(2, 1)
    masks = ours.get_attention_masks(positions)
    expected = _losses(theirs, lambda tokens: theirs(tokens, position_ids=positions).logits)
    losses = _losses(ours, lambda tokens: ours(tokens, positions=positions, attention_masks=masks))
    assert losses == pytest.approx(expected, abs=1e-4)
    assert losses[-1] < losses[0] - 0.2


def _with_peft(base: RandomBase, ours: Any) -> Any:
    """transformers' model with PEFT's adapters, which begin as ours do."""
    config = LoraConfig(r=ADAPTERS.rank, lora_alpha=ADAPTERS.alpha, target_modules=PROJECTIONS)
    model = get_peft_model(base.model, config)
    parameters, names = dict(model.named_parameters()), CheckpointNames.of(ours.config)
    for name, parameter in ours.named_parameters():
        if is_adapter(name):
            ((module, side),) = names.adapter_modules(name, num_experts=0)
            parameters[f"base_model.model.{module}.{side}.default.weight"].data.copy_(parameter)
    return model.train()


def _losses(model: Any, logits: Callable[[torch.Tensor], torch.Tensor]) -> list[float]:
    """What each step's loss is, on the same tokens every time."""
    tokens = torch.randint(0, 320, (2, 40), generator=torch.Generator().manual_seed(5))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0)
    losses = []
    for _ in range(STEPS):
        loss = F.cross_entropy(logits(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
