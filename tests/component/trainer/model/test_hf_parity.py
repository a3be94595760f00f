"""The model computes what transformers' DeepseekV3ForCausalLM computes from the same checkpoint."""

from pathlib import Path

import pytest
import torch
from random_base import tiny_model, write_tiny_base

from finetune_trainer.model.base_loader import load_base
from finetune_trainer.model.frozen_base import FrozenBaseModel


@pytest.mark.parametrize(
    ("sharded", "length"),
    [
        pytest.param(False, 200, id="one file"),
        pytest.param(True, 200, id="index of files"),
        pytest.param(False, 4500, id="longer than yarn's original length"),
    ],
)
@torch.no_grad()
def test_logits_are_those_of_transformers(
    tiny: FrozenBaseModel.Config, tmp_path: Path, sharded: bool, length: int
) -> None:
    write_tiny_base(tmp_path, sharded=sharded)
    model = tiny.build()
    model.init_weights()
    load_base([model], tiny, tmp_path)
    tokens = torch.randint(0, 4096, (1, length), generator=torch.Generator().manual_seed(5))
    positions = torch.arange(length).unsqueeze(0)
    masks = model.get_attention_masks(positions)
    logits = model.eval()(tokens, positions=positions, attention_masks=masks)
    torch.testing.assert_close(logits, tiny_model()(tokens).logits, atol=2e-4, rtol=0)
