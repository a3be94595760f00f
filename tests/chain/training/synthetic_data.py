"""Seeded random sequences: the same global order at every number of processes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torchtitan.components.dataloader import BaseDataLoader

from finetune_trainer.data.document import Document
from finetune_trainer.data.packing import Members, pack
from finetune_trainer.data.store import TokenStore

VOCABULARY = 4096
IGNORED = -100
# Few enough that ten steps see each more than once and learn them: a curve that moves tells more.
DISTINCT = 12


def sequence(index: int, length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens, positions and labels of sequence `index`: two documents, the first eighth of each a prompt.

    How many labels count differs from one sequence to the next, as it does in real data: a wrong
    normalisation of the gradient then shows.
    """
    index %= DISTINCT
    tokens = torch.randint(0, VOCABULARY, (length + 1,), generator=torch.Generator().manual_seed(index))
    positions = torch.cat([torch.arange(length // 2), torch.arange(length - length // 2)])
    labels = tokens[1:].clone()
    labels[positions < length // 8] = IGNORED
    labels[: (index % 5) * length // 8] = IGNORED
    return tokens[:-1], positions, labels


class SyntheticDataLoader(BaseDataLoader):
    """Yields micro-batches as torchtitan's loaders do; its state is the global position, on all ranks."""

    @dataclass(kw_only=True, slots=True)
    class Config(BaseDataLoader.Config):
        sequences: int | None = None
        """How many there are; None for no end."""
        infinite: bool = False
        """torchtitan's validator sets it."""

    def __init__(
        self,
        config: Config,
        *,
        dp_world_size: int,
        dp_rank: int,
        seq_len: int,
        local_batch_size: int,
        **_: Any,
    ) -> None:
        self.config = config
        self.ranks, self.rank, self.length, self.batch = dp_world_size, dp_rank, seq_len, local_batch_size
        self.position = 0

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        while (
            self.config.sequences is None or self.position + self.batch * self.ranks <= self.config.sequences
        ):
            first = self.position + self.rank * self.batch
            rows = [sequence(first + row, self.length) for row in range(self.batch)]
            tokens, positions, labels = (torch.stack(parts) for parts in zip(*rows, strict=True))
            self.position += self.batch * self.ranks
            yield {"input": tokens, "positions": positions}, labels

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.position = state_dict["position"]


def write_tokens(folder: Path) -> None:
    """50 documents of 8 to 63 positions: an epoch is some 15 steps, so lives end in the middle of one."""
    generator = torch.Generator().manual_seed(0)
    documents = []
    for line in range(1, 51):
        length = int(torch.randint(9, 65, (1,), generator=generator))
        tokens = torch.randint(3, 4096, (length,), generator=generator).tolist()
        documents.append(Document(tokens=tokens, trained=[True] * length, line=line))
    store = TokenStore.write(documents, folder)
    sources = [Members(documents=torch.arange(len(store)))]
    pack(folder / "training", lengths=store.lengths(), sources=sources, sequence_length=64, seed=0)
