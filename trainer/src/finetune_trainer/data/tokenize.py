"""From a dataset's lines to documents, and the report of what became of them."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from finetune_trainer.contract.failure import DataError, Reason
from finetune_trainer.data.chat import ChatReader
from finetune_trainer.data.document import Document, Dropped
from finetune_trainer.data.forked_map import forked_map
from finetune_trainer.data.formats import PAIRS, TEXT, Reading, format_of
from finetune_trainer.data.lines import read_lines
from finetune_trainer.data.opening import is_parquet
from finetune_trainer.data.pairs import PairReader
from finetune_trainer.data.parquet import PARQUET, read_rows
from finetune_trainer.data.row import Line
from finetune_trainer.data.text import text_documents
from finetune_trainer.data.tokenizer import ChatTokenizer

logger = logging.getLogger(__name__)

# Of the dropped lines so many are named.
NAMED = 5
# Reading, counting and writing rows, which one process does, takes a seventh of the work on them.
_MOST_PROCESSES = 4
_SMALL_BYTES = 8 * 2**20


@dataclass
class Tally:
    """What became of the lines so far."""

    format: str | None = None
    """The rows' format; None before the first one."""
    lines: int = 0
    truncated_lines: int = 0
    tokens_cut: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Lines by why they train nothing."""
    first_dropped: dict[str, list[str]] = field(default_factory=dict)
    """The places of some of them."""

    def add(self, document: Document) -> None:
        self.truncated_lines += document.tokens_cut > 0
        self.tokens_cut += document.tokens_cut

    def drop(self, place: str, why: Dropped) -> None:
        self.dropped[why.value] += 1
        places = self.first_dropped.setdefault(why.value, [])
        if len(places) < NAMED:
            places.append(place)


@dataclass(frozen=True, kw_only=True)
class DocumentReader:
    """Reads files as documents, in order, and counts meanwhile what becomes of their rows."""

    files: Mapping[str, Path]
    reading: Reading
    tokenizer: ChatTokenizer
    longest: int
    tally: Tally = field(default_factory=Tally)

    def __iter__(self) -> Iterator[Document]:
        """Raises DataError naming file and line."""
        reading, tally, lines = self.reading, self.tally, read_rows_of(self.files, self.reading)
        if (first := next(lines, None)) is None:
            return
        tally.format = format_of(first, reading)
        logger.info("%s: rows are read in format %s", first.place, tally.format)
        read = _reader(replace(reading, format=tally.format), self.tokenizer, self.longest)
        for line, documents in forked_map(read, chain([first], lines), processes=_processes(self.files)):
            tally.lines += 1
            for document in documents:
                if isinstance(document, Document):
                    tally.add(document)
                    yield replace(document, line=tally.lines)
                else:
                    tally.drop(line.place, document)
        if tally.lines and tally.dropped[Dropped.NOTHING_TRAINS] == tally.lines:
            names = ", ".join(self.files)
            raise DataError(
                f"{names}: in none of {tally.lines:,} rows is a turn of the assistant to train",
                remedy="Give turns weight 1, or set dataset.train: all",
            )


def _processes(files: Mapping[str, Path]) -> int:
    """One for small files, which are read before a fork has paid; else one a CPU, up to what one can feed."""
    if sum(file.stat().st_size for file in files.values()) < _SMALL_BYTES:
        return 1
    return min(_MOST_PROCESSES, len(os.sched_getaffinity(0)))


def read_rows_of(files: Mapping[str, Path], reading: Reading) -> Iterator[Line]:
    """The rows of files, JSON or parquet, in order."""
    for name, file in files.items():
        if file.suffix == PARQUET or is_parquet(file):
            yield from read_rows(file, name, ignored=reading.ignored)
        else:
            yield from read_lines(file, name)


def _reader(
    reading: Reading, tokenizer: ChatTokenizer, longest: int
) -> Callable[[Line], Sequence[Document | Dropped]]:
    if reading.format == TEXT:
        return lambda line: text_documents(line, tokenizer, longest, reading.ignored)
    if not tokenizer.has_chat_template:
        raise DataError(
            f"{tokenizer.folder}: the base model has no chat template",
            Reason.BASE_INVALID,
            remedy="Add chat_template.jinja to the base model, or use dataset.format text",
        )
    reader = PairReader if reading.format == PAIRS else ChatReader
    return reader(tokenizer, reading, longest).documents
