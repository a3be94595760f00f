"""The trainer's model of a base, as flavour auto makes it, against transformers'."""

from pathlib import Path
from typing import Any

import torch
from random_families import RandomBase

from finetune_trainer.model.base_loader import load_base
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.spec import lora_model_spec

ADAPTERS = LoRASettings(rank=8, alpha=16.0)


def loaded(folder: Path, *targets: str, lora: LoRASettings = ADAPTERS) -> Any:
    """The trainer's model of the base in `folder`, as flavour auto makes it."""
    spec = lora_model_spec(
        "auto",
        lora=lora,
        targets=targets or ["attention", "mlp", "experts"],
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
