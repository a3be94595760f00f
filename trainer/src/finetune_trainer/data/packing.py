"""Pack documents into sequences, once, by prepare: the best fit of a window of documents at a time.

A sequence holds documents of one source. Which source's is next, mixture.py says.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from finetune_trainer.data.columns import TableWriter, read_table
from finetune_trainer.data.mixture import Mixture, Part

WINDOW = 2**16
"""Documents that are looked at together: a tenth of a second, some megabytes, sequences all but full."""

_COLUMNS = {"documents": torch.int64, "starts": torch.int64}


@dataclass(frozen=True)
class Packing:
    """Sequence i holds the documents `documents[starts[i]:starts[i + 1]]` of a token store.

    documents: int64 [documents]; starts: int64 [sequences + 1]; both mapped from a file. The sequences of the
    first part come first, then those of the second.
    """

    documents: torch.Tensor
    starts: torch.Tensor
    sequence_length: int
    parts: tuple[Part, ...]

    @classmethod
    def load(cls, folder: Path) -> "Packing":
        """Map a packing into memory. Raises DataError if it is not there or not whole."""
        columns, index = read_table(folder, _COLUMNS)
        return cls(
            **columns,
            sequence_length=index["sequenceLength"],
            parts=tuple(Part(**part) for part in index["parts"]),
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

    def of_source(self, number: int) -> "Packing":
        """Only the sequences of the part of this number."""
        first = sum(part.sequences for part in self.parts[:number])
        part = self.parts[number]
        return replace(self, starts=self.starts[first : first + part.sequences + 1], parts=(part,))

    def sequence(self, index: int) -> list[int]:
        documents: list[int] = self.documents[self.starts[index] : self.starts[index + 1]].tolist()
        return documents


@dataclass(frozen=True, kw_only=True)
class Members:
    """The documents of one source that are packed."""

    documents: torch.Tensor
    """int64 [documents], their numbers in the store."""
    trained_tokens: int = 0
    """What the loss counts of them; it matters beside other sources only."""
    share: float | None = None
    name: str = ""
    of_pairs: bool = False


def pack(
    folder: Path,
    *,
    lengths: torch.Tensor,
    sources: Sequence[Members],
    sequence_length: int,
    seed: int,
    window: int = WINDOW,
) -> Packing:
    """Pack the documents of each source and write that into `folder`. Raises StorageError.

    lengths: int64 [documents of the store], positions each takes, none above sequence_length. The documents
    of a source are shuffled by the seed first, so that a window holds documents of all kinds however the
    dataset is sorted. Memory holds one window, and eight bytes a document.
    """
    facts: dict[str, Any] = {"sequenceLength": sequence_length, "parts": []}
    with TableWriter(folder, _COLUMNS, facts) as table:
        table.append("starts", [0])
        for source in sources:
            sequences = 0
            for documents in _packed(source.documents, lengths, sequence_length, seed, window):
                table.append("starts", [table.append("documents", documents)])
                sequences += 1
            part = Part(
                sequences=sequences,
                trained_tokens=source.trained_tokens,
                share=source.share,
                name=source.name,
                pairs=len(source.documents) if source.of_pairs else 0,
            )
            facts["parts"].append(asdict(part))
    return Packing.load(folder)


def _packed(
    documents: torch.Tensor, lengths: torch.Tensor, capacity: int, seed: int, window: int
) -> Iterator[list[int]]:
    shuffled = documents[torch.randperm(len(documents), generator=torch.Generator().manual_seed(seed))]
    for first in range(0, len(shuffled), window):
        some = shuffled[first : first + window]
        numbers = some.tolist()
        for sequence in best_fit(lengths[some].tolist(), capacity):
            yield [numbers[place] for place in sequence]


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
    """Which documents global sequence n holds, without end.

    Each source is gone through again and again, every time in an order of its own by seed and pass; without a
    seed, all of them once as packed, and again.
    """

    def __init__(self, packing: Packing, *, seed: int | None) -> None:
        self._packing = packing
        self._seed = seed
        self._mixture = Mixture(packing.parts)
        counts = [part.sequences for part in packing.parts]
        self._firsts = list(accumulate(counts, initial=0))
        self._orders: dict[int, tuple[int, torch.Tensor]] = {}

    @property
    def epoch(self) -> int:
        """Sequences until every document has come once, and those of large shares more often."""
        return len(self._packing) if self._seed is None else self._mixture.epoch

    def __getitem__(self, index: int) -> list[int]:
        """The documents of global sequence `index`. Another pass than the last one's costs a shuffle."""
        if self._seed is None:
            return self._packing.sequence(index % len(self._packing))
        source, number = self._mixture[index]
        number, place = divmod(number, self._packing.parts[source].sequences)
        order = self._order(source, number, self._seed)
        return self._packing.sequence(self._firsts[source] + int(order[place]))

    def _order(self, source: int, number: int, seed: int) -> torch.Tensor:
        known, order = self._orders.get(source, (-1, torch.arange(0)))
        if known != number:
            order = _shuffled(self._packing.parts[source].sequences, seed, number)
            self._orders[source] = number, order
        return order


def sequences_of(epochs: float, sequences: int) -> int:
    """How many sequences `epochs` epochs of `sequences` take; a part of one counts whole.

    0.1 x 30 is 3.0000000000000004 to a computer, and still three.
    """
    return math.ceil(round(epochs * sequences, 6))


def _shuffled(count: int, seed: int, number: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed((seed & 0xFFFFFFFF) << 31 | number)
    return torch.randperm(count, generator=generator)
