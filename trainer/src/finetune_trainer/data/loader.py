"""The dataloader that torchtitan's trainer and validator build."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torchtitan.components.dataloader import BaseDataLoader
from torchtitan.components.loss import IGNORE_INDEX
from torchtitan.components.tokenizer import BaseTokenizer

from finetune_trainer.contract.failure import ConfigurationError
from finetune_trainer.data.mixture import Part
from finetune_trainer.data.packing import Packing, SequenceOrder, sequences_of
from finetune_trainer.data.store import TokenStore

Batch = tuple[dict[str, torch.Tensor], torch.Tensor]


class PackedDataLoader(BaseDataLoader):
    """Yields micro-batches of packed sequences.

    Call k of a rank takes `local_batch_size` sequences of the global order, side by side with the other
    ranks' of the same call. The state is how many global sequences all ranks together have taken, so it is
    the same on every rank and holds at any number of processes.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(BaseDataLoader.Config):
        seed: int = 0
        shuffle: bool = True
        part: Literal["training", "validation"] = "training"
        source: int | None = None
        """Only the sequences of the part's source of this number. None: of all of them."""
        epochs: float | None = None
        """After that many epochs sequences train nothing: they fill up the last step. None: without end."""
        infinite: bool = True
        """False: stop after one epoch, whose last batches are filled up in the same way."""

    def __init__(
        self,
        config: Config,
        *,
        dp_world_size: int,
        dp_rank: int,
        tokenizer: BaseTokenizer,
        seq_len: int,
        local_batch_size: int,
        **_: Any,
    ) -> None:
        folder = Path(config.dataset_path or "")
        self._store, packing = TokenStore.load(folder), Packing.load(folder / config.part)
        if config.source is not None:
            packing = packing.of_source(config.source)
        if packing.sequence_length > seq_len:
            raise ConfigurationError(
                f"training.overrides: the data is packed for more than seq_len {seq_len}",
                remedy="Set training.sequenceLength instead",
            )
        self._order = SequenceOrder(packing, seed=config.seed if config.shuffle else None)
        self._infinite = config.infinite
        epochs = config.epochs if config.infinite else 1
        self._end = None if epochs is None else sequences_of(epochs, self._order.epoch)
        self._ranks, self._rank = dp_world_size, dp_rank
        self._batch, self._length = local_batch_size, seq_len
        self._padding = tokenizer.eos_id or 0
        self._taken = 0

    def __iter__(self) -> Iterator[Batch]:
        while self._infinite or self._taken < (self._end or 0):
            first = self._taken + self._rank * self._batch
            # Before the yield: what has been handed out is taken when a checkpoint follows.
            self._taken += self._batch * self._ranks
            yield self._batch_of([first + row for row in range(self._batch)])

    def state_dict(self) -> dict[str, Any]:
        return {"sequences": self._taken}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._taken = int(state_dict["sequences"])

    def own_lines_since(self, state: dict[str, Any]) -> list[int]:
        """The lines of the dataset that this rank took since `state`, as `state_dict` gave it."""
        taken = range(state["sequences"], self._taken)
        own = [index for index in taken if index // self._batch % self._ranks == self._rank]
        documents = [document for index in own for document in self._documents(index)]
        return sorted({int(self._store.lines[document]) for document in documents})

    def _batch_of(self, indices: list[int]) -> Batch:
        """Global sequences side by side, int64 [batch, seq_len] each.

        Of pairs the labels say which belong together, so that what torchtitan counts is pairs; the next
        tokens are beside the input then.
        """
        held = [self._documents(index) for index in indices]
        rows = [
            pack_sequence(self._store, documents, length=self._length, padding=self._padding)
            for documents in held
        ]
        tokens, positions, labels = (torch.stack(parts) for parts in zip(*rows, strict=True))
        inputs = {"input": tokens, "positions": positions}
        if self._store.rejected is None:
            return inputs, labels
        pairs = [pair_labels(self._store, documents, length=self._length) for documents in held]
        return {**inputs, "targets": labels}, torch.stack(pairs)

    def _documents(self, index: int) -> list[int]:
        return [] if self._end is not None and index >= self._end else self._order[index]


def held_out_parts(config: PackedDataLoader.Config) -> tuple[Part, ...]:
    """The sources that `config` loads documents of. Raises DataError if they are not there or not whole."""
    return Packing.load(Path(config.dataset_path or "") / config.part).parts


def pack_sequence(
    store: TokenStore, documents: list[int], *, length: int, padding: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Documents side by side, positions from 0 in each; padding is one more document that trains nothing.

    Labels are the next token of the same document, so no document's end predicts the next one's beginning.
    """
    tokens = torch.full((length,), padding, dtype=torch.int64)
    labels = torch.full((length,), IGNORE_INDEX, dtype=torch.int64)
    positions = torch.zeros(length, dtype=torch.int64)
    filled = 0
    for own, trained in (part for index in documents for part in store.parts(index)):
        part = slice(filled, filled + len(own) - 1)
        tokens[part] = own[:-1].long()
        labels[part] = torch.where(trained[1:], own[1:].long(), IGNORE_INDEX)
        positions[part] = torch.arange(len(own) - 1)
        filled += len(own) - 1
    positions[filled:] = torch.arange(length - filled)
    return tokens, positions, labels


def pair_labels(store: TokenStore, pairs: list[int], *, length: int) -> torch.Tensor:
    """int64 [length]: where a pair's chosen document begins, the place where its rejected one does."""
    labels = torch.full((length,), IGNORE_INDEX, dtype=torch.int64)
    filled = 0
    for index in pairs:
        chosen, rejected = (len(tokens) - 1 for tokens, _ in store.parts(index))
        labels[filled] = filled + chosen
        filled += chosen + rejected
    return labels
