"""Tokenized documents on disk, a safetensors file a split: written by prepare, mapped by every process."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from finetune_trainer.contract.failure import DataError, Reason, storage_failure
from finetune_trainer.data.document import Document

_COLUMNS = ("tokens", "trained", "ends", "lines")


@dataclass(frozen=True)
class TokenStore:
    """tokens: int32 [tokens]; trained: bool [tokens]; ends: int64 [documents], where each document ends.

    lines: int64 [documents], which line of the dataset each document is of, from 1.
    """

    tokens: torch.Tensor
    trained: torch.Tensor
    ends: torch.Tensor
    lines: torch.Tensor

    @classmethod
    def of(cls, documents: Iterable[Document]) -> "TokenStore":
        tokens, trained, ends, lines = array("i"), array("b"), array("q"), array("q")
        for document in documents:
            tokens.extend(document.tokens)
            trained.extend(document.trained)
            ends.append(len(tokens))
            lines.append(document.line)
        return cls(
            torch.tensor(tokens, dtype=torch.int32),
            torch.tensor(trained, dtype=torch.bool),
            torch.tensor(ends, dtype=torch.int64),
            torch.tensor(lines, dtype=torch.int64),
        )

    def __len__(self) -> int:
        return len(self.ends)

    def lengths(self) -> list[int]:
        """Positions of each document in a sequence."""
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), self.ends[:-1]])
        lengths: list[int] = (self.ends - starts - 1).tolist()
        return lengths

    def document(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and flags of document `index`, int32 and bool [length + 1]."""
        start = int(self.ends[index - 1]) if index else 0
        part = slice(start, int(self.ends[index]))
        return self.tokens[part], self.trained[part]

    def select(self, documents: Iterable[int]) -> "TokenStore":
        """A store of these documents only, in the given order."""
        documents = list(documents)
        parts = [self.document(index) for index in documents]
        lengths = torch.tensor([len(tokens) for tokens, _ in parts])
        tokens, trained = (torch.cat(column) for column in zip(*parts, strict=True))
        return TokenStore(tokens, trained, lengths.cumsum(0), self.lines[documents])

    def save(self, file: Path) -> None:
        """Write the file; it appears whole or not at all."""
        part = file.with_name(file.name + ".part")
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            save_file({name: getattr(self, name) for name in _COLUMNS}, part)
        except SafetensorError as error:
            part.unlink(missing_ok=True)
            raise storage_failure(error, file) from error
        part.replace(file)

    @classmethod
    def load(cls, file: Path) -> "TokenStore":
        """Map a file into memory. Raises DataError if it is not there or not whole."""
        try:
            with safe_open(file, framework="pt") as tensors:
                return cls(*(tensors.get_tensor(name) for name in _COLUMNS))
        except (OSError, SafetensorError) as error:
            raise DataError(
                f"{file}: the tokenized dataset cannot be read ({error})",
                Reason.DATASET_INVALID,
                remedy="Run prepare first; delete prepared.json if it has run",
            ) from error


def split(store: TokenStore, validation_share: float, seed: int) -> tuple[list[int], list[int]]:
    """Document numbers for training and for validation, fixed by the seed.

    With a share above 0 at least one document validates and at least one trains.
    """
    count = len(store)
    if validation_share <= 0 or count < 2:
        return list(range(count)), []
    wanted = min(max(1, round(validation_share * count)), count - 1)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    return sorted(order[wanted:]), sorted(order[:wanted])
