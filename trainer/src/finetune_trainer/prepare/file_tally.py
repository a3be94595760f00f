"""What became of the files of a dataset, counted while they are tokenized."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from finetune_trainer.data.document import Document
from finetune_trainer.data.tokenize import DocumentReader, Tally
from finetune_trainer.prepare.report import FileReport

# Of the rows that are cut so many are named.
NAMED = 5


@dataclass
class FileTally:
    """`before`: the rows of the files before this one, from which `rows` goes on counting."""

    name: str
    before: int
    rows: Tally
    documents: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    longest: int = 0
    histogram: Counter[int] = field(default_factory=Counter)
    first_cut: list[str] = field(default_factory=list)

    def counted(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents of this file, and count them."""
        for document in documents:
            tokens = len(document.tokens)
            self.documents += 1
            self.tokens += tokens
            self.trained_tokens += sum(document.trained)
            self.longest = max(self.longest, tokens)
            self.histogram[1 << (tokens - 1).bit_length()] += 1
            if document.tokens_cut and len(self.first_cut) < NAMED:
                self.first_cut.append(self.place(document.line))
            yield document

    def place(self, line: int) -> str:
        """ "file:row" of a line that is counted over all files."""
        return f"{self.name}:{line - self.before}"

    def report(self) -> FileReport:
        return FileReport(
            name=self.name,
            format=self.rows.format or "unknown",
            rows=self.rows.lines - self.before,
            documents=self.documents,
            tokens=self.tokens,
            trained_tokens=self.trained_tokens,
            longest_document=self.longest,
            histogram={str(bound): self.histogram[bound] for bound in sorted(self.histogram)},
            truncated_lines=self.rows.truncated_lines,
            tokens_cut=self.rows.tokens_cut,
            first_truncated=self.first_cut,
            dropped=dict(self.rows.dropped),
            first_dropped=self.rows.first_dropped,
        )


Read = Callable[[str, Path, int], DocumentReader]
"""Of a file, by its name, and the rows of the files before it."""


@dataclass
class DatasetTally:
    """What became of all files, as far as their documents were gone through."""

    files: list[FileTally] = field(default_factory=list)

    def counted(self, files: Mapping[str, Path], read: Read) -> Iterator[Document]:
        """Yield what `read` makes of one file after the other, and count it."""
        for name, file in files.items():
            documents = read(name, file, self.rows)
            own = FileTally(name=name, before=self.rows, rows=documents.tally)
            self.files.append(own)
            yield from own.counted(documents)

    @property
    def rows(self) -> int:
        return self.files[-1].rows.lines if self.files else 0

    @property
    def dropped(self) -> Counter[str]:
        """Rows by why they train nothing."""
        return sum((file.rows.dropped for file in self.files), Counter())

    @property
    def first_dropped(self) -> dict[str, list[str]]:
        places: dict[str, list[str]] = {}
        for file in self.files:
            for why, own in file.rows.first_dropped.items():
                places[why] = [*places.get(why, []), *own][:NAMED]
        return places

    def place_of(self, line: int) -> str:
        """ "file:row" of a line that is counted over all files."""
        return next(file for file in reversed(self.files) if file.before < line).place(line)
