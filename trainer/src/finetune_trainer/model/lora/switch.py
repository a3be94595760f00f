"""The model without its adapters, for as long as one asks: what it was before training."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from finetune_trainer.model.lora.experts import LoRAGroupedExperts
from finetune_trainer.model.lora.linear import LoRALinear


@contextmanager
def adapters_off(model_parts: Sequence[nn.Module]) -> Iterator[None]:
    """Compute the frozen base alone: no product with an adapter is made, so that it is the base exactly."""
    adapted = [
        module
        for part in model_parts
        for module in part.modules()
        if isinstance(module, LoRALinear | LoRAGroupedExperts)
    ]
    for module in adapted:
        module.adapter_is_on = False
    try:
        yield
    finally:
        for module in adapted:
            module.adapter_is_on = True
