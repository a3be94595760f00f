"""From a dataset's lines to documents, and the report of what became of them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from finetune_trainer.contract.failure import DataError, Reason
from finetune_trainer.data.chat import chat_document
from finetune_trainer.data.document import Document, Dropped
from finetune_trainer.data.lines import Line, read_lines
from finetune_trainer.data.parquet import PARQUET, read_rows
from finetune_trainer.data.text import text_documents
from finetune_trainer.data.tokenizer import ChatTokenizer

# Of the dropped lines so many are named.
NAMED = 5


@dataclass
class Tally:
    """What became of the lines so far."""

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


def read_documents(
    files: Mapping[str, Path], *, data_format: str, tokenizer: ChatTokenizer, longest: int, tally: Tally
) -> Iterator[Document]:
    """The documents of all files, in order. Raises DataError naming file and line."""
    if data_format == "chat" and not tokenizer.has_chat_template:
        raise DataError(
            f"{tokenizer.folder}: the base model has no chat template",
            Reason.BASE_INVALID,
            remedy="Add chat_template.jinja to the base model, or use dataset.format text",
        )
    for name, file in files.items():
        read = read_rows if file.suffix == PARQUET else read_lines
        for line in read(file, name):
            tally.lines += 1
            for document in _documents(line, data_format, tokenizer, longest):
                if isinstance(document, Document):
                    tally.add(document)
                    yield replace(document, line=tally.lines)
                else:
                    tally.drop(line.place, document)


def _documents(
    line: Line, data_format: str, tokenizer: ChatTokenizer, longest: int
) -> list[Document] | list[Document | Dropped]:
    if data_format == "text":
        return text_documents(line, tokenizer, longest)
    return [chat_document(line, tokenizer, longest)]
