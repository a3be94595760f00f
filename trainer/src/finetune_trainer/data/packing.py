"""Pack documents into sequences, the same global order whatever the number of processes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Epoch:
    """One pass over the documents. Sequence i holds the documents `order[starts[i]:starts[i + 1]]`."""

    order: list[int]
    starts: list[int]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def sequence(self, index: int) -> list[int]:
        return self.order[self.starts[index] : self.starts[index + 1]]


def pack_epoch(lengths: Sequence[int], *, sequence_length: int, seed: int | None, epoch: int) -> Epoch:
    """Shuffle by seed and epoch, then fill each sequence until the next document does not fit.

    lengths: positions of each document, none above sequence_length. seed: None keeps the order.
    """
    order = _shuffled(len(lengths), seed, epoch)
    starts, filled = [0], 0
    for place, document in enumerate(order):
        if filled and filled + lengths[document] > sequence_length:
            starts.append(place)
            filled = 0
        filled += lengths[document]
    return Epoch(order, [*starts, len(order)] if order else [0])


def _shuffled(count: int, seed: int | None, epoch: int) -> list[int]:
    if seed is None:
        return list(range(count))
    generator = torch.Generator().manual_seed((seed & 0xFFFFFFFF) << 31 | epoch)
    order: list[int] = torch.randperm(count, generator=generator).tolist()
    return order


class SequenceOrder:
    """Which documents global sequence n holds, epoch after epoch without end."""

    def __init__(self, lengths: Sequence[int], *, sequence_length: int, seed: int | None) -> None:
        self._lengths = lengths
        self._sequence_length = sequence_length
        self._seed = seed
        self._number = 0
        self._first = 0
        self._epoch = self._pack(0)

    def __getitem__(self, index: int) -> list[int]:
        """The documents of global sequence `index`. Near the last one asked for it is cheap."""
        if index < self._first:
            self._number, self._first, self._epoch = 0, 0, self._pack(0)
        while index >= self._first + len(self._epoch):
            self._first += len(self._epoch)
            self._number += 1
            self._epoch = self._pack(self._number)
        return self._epoch.sequence(index - self._first)

    @property
    def first_epoch_sequences(self) -> int:
        return len(self._pack(0))

    def _pack(self, epoch: int) -> Epoch:
        return pack_epoch(self._lengths, sequence_length=self._sequence_length, seed=self._seed, epoch=epoch)
