"""The model of every family, built from its config.json, computes what transformers' own class computes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from random_families import FAMILIES, RandomBase, write_random_base

from finetune_trainer.model.base_loader import load_base
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.spec import lora_model_spec
from finetune_trainer.prepare.architecture import check_architecture, check_tensors
from finetune_trainer.prepare.parity import compare_with_transformers

pytestmark = pytest.mark.usefixtures("plain_tensors")


def loaded(folder: Path) -> Any:
    """The trainer's model of the base in `folder`, as flavour auto makes it."""
    spec = lora_model_spec(
        "auto",
        lora=LoRASettings(rank=8, alpha=8.0),
        targets=["attention", "mlp", "experts"],
        base_dtype="float32",
        device="cpu",
        base=folder,
    )
    model = spec.model.build()
    model.init_weights()
    load_base([model], spec.model, folder)
    return model.eval()


@torch.no_grad()
def assert_same_logits(base: RandomBase) -> None:
    tokens = torch.randint(0, base.config["vocab_size"], (2, 40), generator=torch.Generator().manual_seed(5))
    positions = torch.arange(40).repeat(2, 1) * 50
    model = loaded(base.folder)
    logits = model(tokens, positions=positions, attention_masks=model.get_attention_masks(positions))
    expected = base.model(tokens, position_ids=positions).logits
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


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
