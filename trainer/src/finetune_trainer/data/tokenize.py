"""From a dataset's lines to documents, and the report of what became of them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from finetune_trainer.data.chat import chat_document
from finetune_trainer.data.document import Document, Dropped
from finetune_trainer.data.lines import Line, read_lines
from finetune_trainer.data.text import text_documents
from finetune_trainer.data.tokenizer import ChatTokenizer
from finetune_trainer.failure import DataError, Reason


@dataclass
class Tally:
    """What became of the lines so far."""

    lines: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


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
        for line in read_lines(file, name):
            tally.lines += 1
            for document in _documents(line, data_format, tokenizer, longest):
                if isinstance(document, Document):
                    yield document
                else:
                    tally.dropped[document.value] += 1


def _documents(
    line: Line, data_format: str, tokenizer: ChatTokenizer, longest: int
) -> list[Document] | list[Document | Dropped]:
    if data_format == "text":
        return text_documents(line, tokenizer, longest)
    return [chat_document(line, tokenizer, longest)]
