"""Configurations that torchtitan 0.3 itself saves."""

import json
from pathlib import Path
from typing import Any

import pytest
from torchtitan.components.lora import LoRAConverter
from torchtitan.distributed.activation_checkpoint import FullAC
from torchtitan.models.deepseek_v3 import config_registry, model_registry

from finetune_operator.torchtitan.config_file import read_config_file
from finetune_operator.torchtitan.job import Choices, Imported, job_of
from finetune_operator.torchtitan.keys import OVERRIDES
from finetune_trainer.train.overrides import field_paths


def saved(folder: Path, config: Any, **choices: Any) -> Imported:
    """The job of a configuration, as debug.save_config_file writes it."""
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    keys, spelled = read_config_file(folder / "config.json")
    chosen = {"dataset": "datasets/a.jsonl", "flavor": "tiny_lora", **choices}
    return job_of(keys, spelled, "config", Choices(**chosen))


def test_of_a_model_with_lora(tmp_path: Path) -> None:
    config = config_registry.deepseek_v3_debugmodel()
    lora = LoRAConverter.Config(rank=4, alpha=8.0, target_modules=["wo", "wkv_a"])
    config.model_spec = model_registry("debugmodel", converters=[lora])
    spec = saved(tmp_path, config).manifest["spec"]
    assert spec["lora"] == {"rank": 4, "alpha": 8.0, "targets": ["wkv_a", "wo"]}
    assert spec["training"] == {
        "steps": 10,
        "learningRate": 8e-4,
        "weightDecay": 0.1,
        "maxGradNorm": 1.0,
        "warmupSteps": 2,
        "schedule": "linear",
        "sequenceLength": 2048,
        "microBatchSize": 8,
        "recompute": "selective",
        "checkpoint": {"interval": 10, "keep": 10},
        "overrides": {"lr_scheduler.decay_ratio": 0.8},
    }


def test_of_full_recompute(tmp_path: Path) -> None:
    config = config_registry.deepseek_v3_debugmodel()
    config.activation_checkpoint = FullAC.Config()
    assert saved(tmp_path, config).manifest["spec"]["training"]["recompute"] == "full"


@pytest.mark.parametrize("name", ["deepseek_v3_16b", "deepseek_v3_671b"])
def test_every_key_is_known(tmp_path: Path, name: str) -> None:
    imported = saved(tmp_path, getattr(config_registry, name)(), flavor=None)
    assert imported.manifest["spec"]["flavor"] == f"{name.rpartition('_')[2].upper()}_lora"
    assert not [note for note in imported.notes if "is not carried" in note]


def test_every_override_is_a_field_of_torchtitan_s() -> None:
    assert set(OVERRIDES) <= set(field_paths(config_registry.deepseek_v3_debugmodel()))
