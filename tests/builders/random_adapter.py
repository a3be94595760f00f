"""An adapter of random values for the tiny base, as PEFT has it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from finetune_trainer.checkpoint.peft_config import peft_config
from finetune_trainer.checkpoint.warm_start import expected_tensors
from finetune_trainer.model.converter import LoRAConverter
from finetune_trainer.model.flavors import build_model_config
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.names import CheckpointNames


def write_random_adapter(
    folder: Path, settings: LoRASettings, targets: Sequence[str], *, base: str, layers: int = 4
) -> None:
    """Write adapter_config.json and adapter_model.safetensors; both matrices are random."""
    model = build_model_config("tiny_lora", device="cpu")
    model = replace(model, layers=model.layers[:layers])
    converter = LoRAConverter.Config(lora=settings, targets=tuple(targets), base_dtype="float32")
    config = converter.build().convert(model)
    with torch.device("meta"):
        expected = expected_tensors(config.build(), CheckpointNames.of(config))
    generator = torch.Generator().manual_seed(1)
    tensors = {name: torch.randn(shape, generator=generator) * 0.05 for name, shape in expected.items()}
    modules = {name.removeprefix("base_model.model.").rsplit(".", 2)[0] for name in expected}
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    described = peft_config(settings, modules=modules, base=base)
    (folder / "adapter_config.json").write_text(json.dumps(described))
