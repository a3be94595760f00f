"""A model of every family is merged as PEFT merges it, and passes the gate."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from peft import LoraConfig, get_peft_model
from random_families import FAMILIES, random_model, write_random_base
from random_members import members
from small_deepseek import ATTENTION, FUSED, load_model

from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.verify.stage import verify_folders

ALL: dict[str, Any] = {"target_modules": [*ATTENTION, "q_proj"], "target_parameters": FUSED}


@pytest.mark.parametrize("family", FAMILIES)
def test_is_merged_as_peft_does_and_proven(tmp_path: Path, family: str) -> None:
    _assert_merged_as_peft_does(tmp_path, FAMILIES[family], prediction_layers=1)


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(config=members())
def test_a_random_member_is_merged_as_peft_does(config: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _assert_merged_as_peft_does(Path(folder), config, config["num_nextn_predict_layers"])


def _assert_merged_as_peft_does(root: Path, config: dict[str, Any], prediction_layers: int) -> None:
    folder, adapter, merged = (root / name for name in ("base", "adapter", "merged"))
    base = write_random_base(folder, config, prediction_layers=prediction_layers)
    peft = get_peft_model(random_model(base.config), LoraConfig(r=4, lora_alpha=8, **ALL))
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    peft.save_pretrained(adapter)
    merge_folders(base=folder, adapter=adapter, out=merged, dtype=Dtype.BASE, workers=1)
    verify_folders(base=folder, adapter=adapter, merged=merged, dtype="base")
    peft.merge_and_unload().save_pretrained(root / "peft")
    ours, theirs = load_model(merged), load_model(root / "peft")
    kept = {name for name in ours if name not in theirs}
    after = [f"model.layers.{config['num_hidden_layers'] + number}." for number in range(2)]
    assert all(name.startswith(tuple(after)) for name in kept)  # multi-token prediction's
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, atol=1e-6, rtol=1e-5, msg=name)
