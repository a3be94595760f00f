"""DoRA's magnitudes as PEFT has them: the norms of the base's rows, and what was trained beside them."""

from collections.abc import Sequence

import torch
from torch import nn

from finetune_trainer.model.frozen.linear import row_norms
from finetune_trainer.model.lora.linear import LoRALinear


@torch.no_grad()
def base_norms(model_parts: Sequence[nn.Module]) -> dict[str, torch.Tensor]:
    """Of this rank's weights with a magnitude, by its parameter's name in a checkpoint; float32 [out, 1].

    Every rank calls this.
    """
    return {
        f"{_plain(name)}.lora_magnitude.weight": row_norms(module).unsqueeze(1).cpu()
        for part in model_parts
        for name, module in part.named_modules()
        if isinstance(module, LoRALinear) and module.lora.dora
    }


def _plain(name: str) -> str:
    """Without what recomputing a layer, or compiling it, puts into its name."""
    return name.replace("_checkpoint_wrapped_module.", "").replace("_orig_mod.", "")
