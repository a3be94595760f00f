"""Adapters written by PEFT itself, and what PEFT merges them to, in float32."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from small_deepseek import load_json, load_model, small_model

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def write_adapter(folder: Path, **settings: Any) -> Path:
    """An adapter of the small model whose matrices are random, as if it had been trained."""
    torch.manual_seed(1)
    options = {"r": 4, "lora_alpha": 8, "target_modules": ["o_proj"], **settings}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(small_model().float(), LoraConfig(**options))
        for name, parameter in model.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                torch.nn.init.normal_(parameter, std=0.05)
        model.save_pretrained(folder)
    return folder


class LeftOutError(Exception):
    """PEFT loads the adapter without some of its tensors, or finds none for what it adapts."""


def merged_by_peft(adapter: Path, work: Path) -> dict[str, torch.Tensor]:
    """The tensors of the small model with an adapter loaded and merged by PEFT, in float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(small_model().float(), PeftConfig.from_pretrained(adapter))
        loaded = set_peft_model_state_dict(model, tensors_of(adapter))
        lost = [name for name in loaded.missing_keys if "lora_" in name or "modules_to_save" in name]
        if loaded.unexpected_keys or lost:
            raise LeftOutError(f"{loaded.unexpected_keys} {lost}")
        model.merge_and_unload().save_pretrained(work)
    return load_model(work)


def change_config(adapter: Path, **fields: Any) -> None:
    (adapter / CONFIG).write_text(json.dumps({**load_json(adapter / CONFIG), **fields}))


def change_tensors(adapter: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, adapter / WEIGHTS)


def tensors_of(adapter: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(adapter / WEIGHTS))
