"""Tokenized documents on disk: written by prepare while it tokenizes, mapped by every process that trains.

Nothing here is in memory as a whole, so a dataset may be larger than that.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from finetune_trainer.data.columns import TableWriter, read_table
from finetune_trainer.data.document import Document

_COLUMNS = {
    "tokens": torch.int32,
    "trained": torch.bool,
    "ends": torch.int64,
    "lines": torch.int64,
    "cut": torch.int64,
}
_OF_PAIRS = {"rejected": torch.int64}
# Documents that are counted together: with some bytes for each of their tokens in memory.
_AT_ONCE = 1024


@dataclass(frozen=True)
class TokenStore:
    """tokens: int32 [tokens]; trained: bool [tokens]; ends: int64 [documents], where each document ends.

    lines: int64 [documents], which line of the dataset each document is of, from 1; cut: int64 [documents],
    how many tokens each lost at its end. rejected: int64 [documents], where in each pair the rejected
    answer's tokens begin; None where the documents are no pairs.
    """

    tokens: torch.Tensor
    trained: torch.Tensor
    ends: torch.Tensor
    lines: torch.Tensor
    cut: torch.Tensor
    rejected: torch.Tensor | None = None

    @classmethod
    def write(cls, documents: Iterable[Document], folder: Path, *, pairs: bool = False) -> "TokenStore":
        """Write `documents` into `folder`, one at a time, and map what is there then. Raises StorageError."""
        with TableWriter(folder, _COLUMNS | (_OF_PAIRS if pairs else {})) as table:
            for document in documents:
                table.append("trained", document.trained)
                table.append("ends", [table.append("tokens", document.tokens)])
                table.append("lines", [document.line])
                table.append("cut", [document.tokens_cut])
                if pairs:
                    table.append("rejected", [document.rejected])
        return cls.load(folder)

    @classmethod
    def load(cls, folder: Path) -> "TokenStore":
        """Map a store into memory. Raises DataError if it is not there or not whole."""
        return cls(**read_table(folder, _COLUMNS, optional=_OF_PAIRS)[0])

    def __len__(self) -> int:
        return len(self.ends)

    def lengths(self) -> torch.Tensor:
        """Positions of each document in a sequence, int64 [documents]."""
        labels_only = 1 if self.rejected is None else 2
        return self.ends.diff(prepend=torch.zeros(1, dtype=torch.int64)) - labels_only

    def learned(self, first: int, last: int) -> torch.Tensor:
        """How many tokens of documents first to last (exclusive) the loss counts, int64 [last - first].

        A document's first token is never predicted.
        """
        counts = [self._learned(start, min(start + _AT_ONCE, last)) for start in range(first, last, _AT_ONCE)]
        return torch.cat(counts or [torch.empty(0, dtype=torch.int64)])

    def _learned(self, first: int, last: int) -> torch.Tensor:
        begin = int(self.ends[first - 1]) if first else 0
        ends = self.ends[first:last] - begin
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), ends[:-1]])
        trained = self.trained[begin : begin + int(ends[-1])]
        running = torch.cat([torch.zeros(1, dtype=torch.int64), trained.cumsum(0)])
        return running[ends] - running[starts] - trained[starts].long()

    def document(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and flags of document `index`, int32 and bool [length + 1]."""
        start = int(self.ends[index - 1]) if index else 0
        part = slice(start, int(self.ends[index]))
        return self.tokens[part], self.trained[part]

    def parts(self, index: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Tokens and flags of what attends to itself alone: the document, or a pair's chosen and rejected."""
        tokens, trained = self.document(index)
        if self.rejected is None:
            return [(tokens, trained)]
        first = int(self.rejected[index])
        return [(tokens[:first], trained[:first]), (tokens[first:], trained[first:])]


def split(count: int, validation_share: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers of the documents for training and for validation, int64, fixed by the seed.

    With a share above 0 at least one document validates and at least one trains.
    """
    if validation_share <= 0 or count < 2:
        return torch.arange(count), torch.arange(0)
    wanted = min(max(1, round(validation_share * count)), count - 1)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order[wanted:].sort().values, order[:wanted].sort().values
