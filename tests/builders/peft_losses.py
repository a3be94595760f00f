"""The losses of a few steps, by the trainer's model and by transformers' with PEFT."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from auto_model import ADAPTERS, loaded
from peft import LoraConfig, get_peft_model
from random_families import RandomBase

from finetune_trainer.model.lora.initialize import initialize_adapters
from finetune_trainer.model.lora.names import is_adapter
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.names import CheckpointNames

PROJECTIONS = ["q_proj", "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"]
STEPS, RATE = 5, 2e-3


def assert_losses_of_peft(base: RandomBase, lora: LoRASettings = ADAPTERS) -> list[float]:
    """Train both on the same tokens; the losses, the same to 1e-4."""
    words = base.config["vocab_size"]
    ours = loaded(base.folder, "attention", lora=lora).train()
    initialize_adapters(ours, seed=7)
    theirs = _with_peft(base, ours, lora)
    positions = torch.arange(40).repeat(2, 1)
    masks = ours.get_attention_masks(positions)
    expected = _losses(theirs, words, lambda tokens: theirs(tokens, position_ids=positions).logits)
    losses = _losses(ours, words, lambda tokens: ours(tokens, positions=positions, attention_masks=masks))
    assert losses == pytest.approx(expected, abs=1e-4)
    return losses


def _with_peft(base: RandomBase, ours: Any, lora: LoRASettings) -> Any:
    """transformers' model with PEFT's adapters, which begin as ours do."""
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=PROJECTIONS, use_dora=lora.dora)
    model = get_peft_model(base.model, config)
    parameters, names = dict(model.named_parameters()), CheckpointNames.of(ours.config)
    for name, parameter in ours.named_parameters():
        if is_adapter(name) and "lora_magnitude" not in name:  # PEFT's is the norm of the base's rows
            ((module, side),) = names.adapter_modules(name, num_experts=0)
            parameters[f"base_model.model.{module}.{side}.default.weight"].data.copy_(parameter)
    return model.train()


def _losses(model: Any, words: int, logits: Callable[[torch.Tensor], torch.Tensor]) -> list[float]:
    """What each step's loss is, on the same tokens every time."""
    tokens = torch.randint(0, words, (2, 40), generator=torch.Generator().manual_seed(5))
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
