"""Write the adapter in PEFT's format, from a checkpoint's whole tensors."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from finetune_trainer.checkpoint import files
from finetune_trainer.checkpoint.peft_config import peft_config
from finetune_trainer.model.lora.names import MAGNITUDE
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.names import CheckpointNames

PEFT_PREFIX = "base_model.model."
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
ADAPTER = "adapter"
"""The folder of a checkpoint that holds its adapter, where training.checkpoint.adapters asks for that."""


def export_adapter(
    checkpoint: Path,
    folder: Path,
    *,
    names: CheckpointNames,
    settings: LoRASettings,
    base: str,
    norms: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write `folder` (adapter_config.json, adapter_model.safetensors), which appears by one rename.

    A routed expert's adapter is written under its own name in the base checkpoint, as a linear layer's is.
    norms: of DoRA, as model/lora/magnitudes.py has them.
    Raises OSError when the volume refuses.
    """
    tensors = dict(_peft_tensors(checkpoint, names, norms or {}))
    staging = folder.with_name(f".{folder.name}.partial")
    staging.mkdir(parents=True, exist_ok=True)
    save_file(tensors, staging / WEIGHTS, metadata={"format": "pt"})
    config = peft_config(settings, modules=_modules(tensors), base=base)
    (staging / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    files.rename_durably(staging, folder)


def _peft_tensors(
    checkpoint: Path, names: CheckpointNames, norms: Mapping[str, torch.Tensor]
) -> Iterator[tuple[str, torch.Tensor]]:
    for file in sorted(checkpoint.glob("layer-*.safetensors")):
        with safe_open(file, framework="pt") as source:
            for name in source.keys():  # noqa: SIM118 (safe_open cannot be iterated)
                if "/" not in name:  # what follows a slash is the optimizer's
                    tensor = source.get_tensor(name)
                    yield from _peft_modules(name, tensor + norms[name] if name in norms else tensor, names)


def _peft_modules(
    name: str, tensor: torch.Tensor, names: CheckpointNames
) -> Iterator[tuple[str, torch.Tensor]]:
    modules = names.adapter_modules(name, num_experts=tensor.shape[0])
    parts = [tensor] if tensor.dim() == 2 else tensor.unbind(0)
    for (module, side), part in zip(modules, parts, strict=True):
        if side == MAGNITUDE:
            yield f"{PEFT_PREFIX}{module}.{side}", part.flatten()
        else:
            yield f"{PEFT_PREFIX}{module}.{side}.weight", part.contiguous()


def _modules(tensors: Mapping[str, torch.Tensor]) -> set[str]:
    """The adapted modules, by their names in the base."""
    return {
        name.removeprefix(PEFT_PREFIX).rsplit(".", 2)[0] for name in tensors if not name.endswith(MAGNITUDE)
    }
