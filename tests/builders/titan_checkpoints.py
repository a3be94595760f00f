"""Step folders as torchtitan writes them, by torch.distributed.checkpoint itself, of a small DeepSeek-V3."""

import re
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from small_deepseek import load_model
from torchtitan.models.deepseek_v3 import model_registry
from torchtitan.models.deepseek_v3.state_dict_adapter import DeepSeekV3StateDictAdapter

LAYERS, EXPERTS = 2, 4
Tensors = dict[str, torch.Tensor]


def titan(model: Tensors) -> Tensors:
    """A Hugging Face model under torchtitan's names, its experts stacked, and what else a step folder has."""
    table = DeepSeekV3StateDictAdapter(model_registry("671B").model, None).from_hf_map
    stacked: dict[str, dict[int, torch.Tensor]] = {}
    names = {
        hf.replace("{}", str(layer), 1): t.format(layer) for hf, t in table.items() for layer in range(LAYERS)
    }
    names |= {
        n.replace("{}", str(e)): f"{t}#{e}" for n, t in names.items() for e in range(EXPERTS) if "{}" in n
    }
    result: Tensors = {}
    for name, tensor in model.items():
        target, _, expert = names.get(name, "?").partition("#")
        if expert:
            stacked.setdefault(target, {})[int(expert)] = tensor.float()
        else:
            result[target] = tensor.float()
    return result | {name: torch.stack([of[e] for e in range(EXPERTS)]) for name, of in stacked.items()}


def save(state: Tensors, folder: Path) -> Path:
    optimizer = {"optimizer.state.norm.weight.step": torch.tensor(3.0)}
    dcp.save({**state, **optimizer, "train_state": {"step": 3}}, checkpoint_id=folder, no_dist=True)
    return folder


def lora_of(adapter: Path) -> Tensors:
    """Its matrices under torchtitan's names."""
    names = {"o_proj": "wo", "q_b_proj": "wq_b"}
    parts = {name: name.split(".") for name in load_model(adapter)}
    return {
        f"layers.{parts[name][4]}.attention.{names[parts[name][6]]}.{parts[name][7].lower()}.weight": tensor
        for name, tensor in load_model(adapter).items()
    }


def of_0_2(state: Tensors) -> Tensors:
    """torchtitan 0.2's names, where they are others."""
    names = {
        "lm_head.weight": "output.weight",
        "moe.expert_bias_E": "moe.expert_bias",
        "moe.routed_experts.inner_experts.w1_EFD": "moe.experts.w1",
        "moe.routed_experts.inner_experts.w2_EDF": "moe.experts.w2",
        "moe.routed_experts.inner_experts.w3_EFD": "moe.experts.w3",
    }
    for new, old in names.items():
        state = {name.replace(new, old) if name.endswith(new) else name: t for name, t in state.items()}
    return state


def compiled(state: Tensors) -> Tensors:
    return {re.sub(r"layers\.(\d+)\.", r"layers.\1._orig_mod.", name): t for name, t in state.items()}
