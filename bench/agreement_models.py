"""One function a way to compute: tokens in, logits [tokens, vocabulary] in float32 out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from finetune_trainer.model.base_loader import load_base
from finetune_trainer.model.converter import LoRAConverter
from finetune_trainer.model.flavors import build_model_config
from finetune_trainer.model.lora.names import is_adapter
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.names import CheckpointNames

Logits = Callable[[list[int]], torch.Tensor]
PREFIX = "base_model.model."


def adapter_on_base(base: Path, adapter: Path) -> Logits:
    """The trainer's torchtitan model, with the exported adapter beside the base as in training."""
    written = json.loads((adapter / "adapter_config.json").read_text())
    config = build_model_config("tiny_lora", device="cpu")
    tensors = load_file(adapter / "adapter_model.safetensors")
    targets = sorted({name.split(".")[-3] for name in tensors})
    config = (
        LoRAConverter.Config(lora=_settings(written), targets=tuple(targets), base_dtype="float32")
        .build()
        .convert(config)
    )
    model = config.build().eval()
    load_base([model], config, base)
    _load_adapter(model, CheckpointNames.of(config), tensors)

    @torch.no_grad()
    def logits(tokens: list[int]) -> torch.Tensor:
        positions = torch.arange(len(tokens)).unsqueeze(0)
        masks = model.get_attention_masks(positions)
        return model(torch.tensor([tokens]), positions=positions, attention_masks=masks)[0].float()

    return logits


def merged(folder: Path, dtype: torch.dtype) -> Logits:
    """transformers on a folder in Hugging Face format."""
    return _transformers(AutoModelForCausalLM.from_pretrained(folder, dtype=dtype))


def added_in_float32(base: Path, adapter: Path) -> Logits:
    """transformers on the base with B @ A added to its weights in float32: merging without rounding."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    scaling = _settings(json.loads((adapter / "adapter_config.json").read_text())).scaling
    tensors = load_file(adapter / "adapter_model.safetensors")
    for name, tensor in tensors.items():
        module, side = name.removeprefix(PREFIX).removesuffix(".weight").rsplit(".", 1)
        if side == "lora_A":
            delta = scaling * tensors[f"{PREFIX}{module}.lora_B.weight"] @ tensor
            _weight(model, module).data.add_(delta)
    return _transformers(model)


def _transformers(model: torch.nn.Module) -> Logits:
    model.eval()

    @torch.no_grad()
    def logits(tokens: list[int]) -> torch.Tensor:
        result: torch.Tensor = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0]
        return result.float()

    return logits


def _weight(model: torch.nn.Module, module: str) -> torch.Tensor:
    """The weight by its name in the checkpoint; transformers keeps an expert's in tensors of all experts."""
    if ".experts." not in module:
        return model.get_parameter(f"{module}.weight")
    prefix, rest = module.split(".experts.")
    expert, projection = rest.split(".")
    experts = model.get_submodule(f"{prefix}.experts")
    if projection == "down_proj":
        return experts.down_proj[int(expert)]
    gate, up = experts.gate_up_proj[int(expert)].chunk(2)
    return gate if projection == "gate_proj" else up


@torch.no_grad()
def _load_adapter(model: torch.nn.Module, names: CheckpointNames, tensors: dict[str, torch.Tensor]) -> None:
    for name, parameter in model.named_parameters():
        if not is_adapter(name):
            continue
        modules = names.adapter_modules(name, num_experts=parameter.shape[0])
        parts = [tensors[f"{PREFIX}{module}.{side}.weight"] for module, side in modules]
        parameter.copy_(parts[0] if parameter.dim() == 2 else torch.stack(parts))


def _settings(adapter_config: dict[str, Any]) -> LoRASettings:
    return LoRASettings(
        rank=adapter_config["r"],
        alpha=adapter_config["lora_alpha"],
        use_rslora=adapter_config["use_rslora"],
    )
