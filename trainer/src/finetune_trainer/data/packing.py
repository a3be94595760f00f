"""Pack documents into sequences, once, by prepare: the best fit of a window of documents at a time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from finetune_trainer.data.columns import TableWriter, read_table

WINDOW = 2**16
"""Documents that are looked at together: a tenth of a second, some megabytes, sequences all but full."""

_COLUMNS = {"documents": torch.int64, "starts": torch.int64}


@dataclass(frozen=True)
class Packing:
    """Sequence i holds the documents `documents[starts[i]:starts[i + 1]]` of a token store.

    documents: int64 [documents]; starts: int64 [sequences + 1]; both mapped from a file.
    """

    documents: torch.Tensor
    starts: torch.Tensor
    sequence_length: int

    @classmethod
    def load(cls, folder: Path) -> "Packing":
        """Map a packing into memory. Raises DataError if it is not there or not whole."""
        columns, index = read_table(folder, _COLUMNS)
        return cls(**columns, sequence_length=index["sequenceLength"])

    def __len__(self) -> int:
        return len(self.starts) - 1

    def sequence(self, index: int) -> list[int]:
        documents: list[int] = self.documents[self.starts[index] : self.starts[index + 1]].tolist()
        return documents


def pack(
    folder: Path,
    *,
    lengths: torch.Tensor,
    members: torch.Tensor,
    sequence_length: int,
    seed: int,
    window: int = WINDOW,
) -> Packing:
    """Pack the documents `members` and write that into `folder`. Raises StorageError.

    lengths: int64 [documents of the store], positions each takes, none above sequence_length. The members
    are shuffled by the seed first, so that a window holds documents of all kinds however the dataset is
    sorted. Memory holds one window, and eight bytes a member.
    """
    shuffled = members[torch.randperm(len(members), generator=torch.Generator().manual_seed(seed))]
    facts = {"sequenceLength": sequence_length}
    with TableWriter(folder, _COLUMNS, facts) as table:
        table.append("starts", [0])
        for first in range(0, len(shuffled), window):
            some = shuffled[first : first + window]
            documents = some.tolist()
            for sequence in best_fit(lengths[some].tolist(), sequence_length):
                end = table.append("documents", (documents[place] for place in sequence))
                table.append("starts", [end])
    return Packing.load(folder)


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Indices of `lengths` a sequence: the longest first, each into the fullest sequence with room for it.

    Best-fit decreasing takes at most 11/9 of the fewest sequences possible (Johnson et al., 1974), and on
    chats a share of a per cent more. `rooms` has bit r set where a sequence with r positions left is open:
    the fullest one that fits is then the lowest bit from the length on.
    """
    sequences: list[list[int]] = []
    with_room: dict[int, list[int]] = {}
    rooms = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        length = lengths[index]
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            number = with_room[room].pop()
            rooms ^= (not with_room[room]) << room
            sequences[number].append(index)
        else:
            room, number = capacity, len(sequences)
            sequences.append([index])
        left = room - length
        if left:
            with_room.setdefault(left, []).append(number)
            rooms |= 1 << left
    return sequences


class SequenceOrder:
    """Which documents global sequence n holds, epoch after epoch without end.

    Every epoch has the same sequences, in an order of its own by seed and epoch; without a seed, as packed.
    """

    def __init__(self, packing: Packing, *, seed: int | None) -> None:
        self._packing = packing
        self._seed = seed
        self._epoch = -1
        self._order = torch.arange(0)

    def __getitem__(self, index: int) -> list[int]:
        """The documents of global sequence `index`. Another epoch than the last one's costs a shuffle."""
        epoch, place = divmod(index, len(self._packing))
        if self._seed is None:
            return self._packing.sequence(place)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, _shuffled(len(self._packing), self._seed, epoch)
        return self._packing.sequence(int(self._order[place]))


def sequences_of(epochs: float, sequences: int) -> int:
    """How many sequences `epochs` passes over `sequences` of them take; a part of one counts whole.

    0.1 x 30 is 3.0000000000000004 to a computer, and still three.
    """
    return math.ceil(round(epochs * sequences, 6))


def _shuffled(count: int, seed: int, epoch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed((seed & 0xFFFFFFFF) << 31 | epoch)
    return torch.randperm(count, generator=generator)
