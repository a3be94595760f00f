"""A document that is packed beside others is computed as if it were alone."""

from pathlib import Path

import pytest
import torch
from random_base import write_tiny_base

from finetune_trainer.data.document import Document
from finetune_trainer.data.loader import pack_sequence
from finetune_trainer.data.store import TokenStore
from finetune_trainer.model.base_loader import load_base
from finetune_trainer.model.frozen_base import FrozenBaseModel

LENGTHS = (12, 5, 20)


@pytest.fixture
def model(tiny: FrozenBaseModel.Config, tmp_path: Path) -> FrozenBaseModel:
    write_tiny_base(tmp_path)
    built = tiny.build()
    built.init_weights()
    load_base([built], tiny, tmp_path)
    return built.eval()


@torch.no_grad()
def _logits(model: FrozenBaseModel, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    masks = model.get_attention_masks(positions)
    logits: torch.Tensor = model(tokens, positions=positions, attention_masks=masks)
    return logits[0]


def test_logits_of_packed_documents_are_those_of_each_alone(model: FrozenBaseModel, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    texts = [torch.randint(3, 4096, (length + 1,), generator=generator).tolist() for length in LENGTHS]
    store = TokenStore.write(
        (Document(tokens=text, trained=[True] * len(text)) for text in texts), tmp_path / "tokens"
    )
    tokens, positions, _ = pack_sequence(store, [0, 1, 2], length=sum(LENGTHS) + 7, padding=1)
    packed = _logits(model, tokens.unsqueeze(0), positions.unsqueeze(0))
    first = 0
    for text, length in zip(texts, LENGTHS, strict=True):
        alone = _logits(model, torch.tensor([text[:-1]]), torch.arange(length).unsqueeze(0))
        torch.testing.assert_close(packed[first : first + length], alone, atol=2e-4, rtol=0)
        first += length
