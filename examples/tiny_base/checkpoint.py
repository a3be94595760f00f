"""The files of a published DeepSeek-V3: one key an expert, several shards and their index, the MTP layer."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import DeepseekV3ForCausalLM

SHARD_BYTES = 4 * 2**20
Tensors = dict[str, torch.Tensor]


def save_checkpoint(model: DeepseekV3ForCausalLM, config: dict[str, Any], folder: Path) -> None:
    """Write bf16 shards, their index, config.json and generation_config.json; router biases stay fp32."""
    tensors = dict(_per_expert(model.state_dict()))
    tensors |= _mtp_layer(tensors, config)
    tensors = {
        name: tensor.to(
            torch.float32 if name.endswith("e_score_correction_bias") else torch.bfloat16
        ).contiguous()
        for name, tensor in tensors.items()
    }
    _write_shards(tensors, folder)
    _write_json(folder / "config.json", config)
    generation = {"bos_token_id": config["bos_token_id"], "eos_token_id": config["eos_token_id"]}
    _write_json(folder / "generation_config.json", {"_from_model_config": True, **generation})


def _per_expert(state: Tensors) -> Iterator[tuple[str, torch.Tensor]]:
    """Split the experts, fused to gate_up_proj [experts, 2 * ffn, hidden] and down_proj."""
    for name, tensor in state.items():
        prefix, _, projection = name.rpartition(".")
        if not prefix.endswith(".experts"):
            yield name, tensor
            continue
        for expert, weight in enumerate(tensor):
            if projection == "gate_up_proj":
                gate, up = weight.chunk(2)
                yield f"{prefix}.{expert}.gate_proj.weight", gate
                yield f"{prefix}.{expert}.up_proj.weight", up
            else:
                yield f"{prefix}.{expert}.{projection}.weight", weight


def _mtp_layer(tensors: Tensors, config: dict[str, Any]) -> Tensors:
    """An untrained multi-token-prediction layer after the last one, named as DeepSeek-V3's layer 61 is."""
    hidden, last = config["hidden_size"], config["num_hidden_layers"] - 1
    source, target = f"model.layers.{last}.", f"model.layers.{last + 1}."
    layer = {
        target + name.removeprefix(source): _untrained(tensor)
        for name, tensor in tensors.items()
        if name.startswith(source)
    }
    return layer | {
        f"{target}embed_tokens.weight": tensors["model.embed_tokens.weight"].clone(),
        f"{target}enorm.weight": torch.ones(hidden),
        f"{target}hnorm.weight": torch.ones(hidden),
        f"{target}eh_proj.weight": _untrained(torch.empty(hidden, 2 * hidden)),
        f"{target}shared_head.norm.weight": torch.ones(hidden),
        f"{target}shared_head.head.weight": tensors["lm_head.weight"].clone(),
    }


def _untrained(tensor: torch.Tensor) -> torch.Tensor:
    return torch.randn(tensor.shape) * 0.02 if tensor.ndim > 1 else torch.ones_like(tensor)


def _write_shards(tensors: Tensors, folder: Path) -> None:
    shards: list[Tensors] = [{}]
    for name, tensor in tensors.items():
        if shards[-1] and sum(held.nbytes for held in shards[-1].values()) + tensor.nbytes > SHARD_BYTES:
            shards.append({})
        shards[-1][name] = tensor
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(shard, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    _write_json(folder / "model.safetensors.index.json", index)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
