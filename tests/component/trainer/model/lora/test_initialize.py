"""The adapters' first values depend on seed and name, and not on how the model is trained."""

import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from finetune_trainer.model.lora.initialize import initialize_adapters


def _model() -> nn.ModuleDict:
    adapted = nn.ModuleDict({"lora_a": nn.Linear(8, 2, bias=False), "lora_b": nn.Linear(2, 8, bias=False)})
    return nn.ModuleDict({"wo": adapted})


def test_layers_that_are_recomputed_begin_with_the_same_values() -> None:
    plain, recomputing = _model(), _model()
    recomputing["wo"] = checkpoint_wrapper(recomputing["wo"])
    for model in (plain, recomputing):
        initialize_adapters(model, seed=1)
    values = plain.state_dict()
    assert values["wo.lora_a.weight"].abs().sum() > 0
    torch.testing.assert_close(recomputing.state_dict(), values, rtol=0, atol=0)
