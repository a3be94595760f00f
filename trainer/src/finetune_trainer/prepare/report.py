"""The data report: what the dataset is, and what became of its lines."""

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from finetune_trainer.contract.progress.snapshot import camel_case


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """What became of one file."""

    name: str
    format: str
    """As dataset.format says, or what the rows were recognised as."""
    rows: int
    documents: int
    tokens: int
    trained_tokens: int
    longest_document: int
    """Tokens."""
    histogram: dict[str, int]
    """Documents by their tokens: at most so many, and more than the bound before, which is half of it."""
    truncated_lines: int
    tokens_cut: int
    first_truncated: list[str]
    """Where some of them are, "file:line"."""
    dropped: dict[str, int]
    first_dropped: dict[str, list[str]]


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A piece of a document that trains, or does not, as a whole."""

    text: str
    trained: bool


@dataclass(frozen=True, kw_only=True)
class Example:
    """A document as text."""

    place: str
    tokens: int
    trained_tokens: int
    tokens_cut: int
    tokens_not_shown: int
    """Of a long document's end."""
    segments: list[Segment]


@dataclass(frozen=True, kw_only=True)
class SourceReport:
    """One source's part of an epoch."""

    source: str
    revision: str | None
    """The commit that was fetched; None where the source has none."""
    split: str
    files: list[str]
    documents: int
    trained_tokens: int
    """Of its documents that train, those that the loss counts."""
    share: float
    """Of the tokens that the loss counts in an epoch, those of this source."""
    epoch_passes: float
    """How often an epoch goes through its documents."""


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """The run's data-report.json."""

    sources: list[SourceReport]
    lines: int
    """Rows, in parquet."""
    documents: int
    tokens: int
    trained_tokens: int
    longest_document: int
    """Tokens."""
    sequences: int
    """Packed training sequences in one epoch."""
    packed_share: float
    """Of the positions of all packed sequences, those that hold a document; the rest is padding."""
    epoch_steps: int
    """Steps that train every document once, and those of sources with large shares more often."""
    last_step_sequences: int
    """What the last of them holds; the rest of it is padding."""
    sequence_length: int
    """Tokens a sequence."""
    batch_sequences: int
    """Sequences a step."""
    steps: int
    """Of the whole run."""
    validation_documents: int
    truncated_lines: int
    tokens_cut: int
    """From the ends of the truncated lines."""
    dropped: dict[str, int]
    """Lines by why they train nothing."""
    first_dropped: dict[str, list[str]]
    """Where some of them are, "file:line"."""
    by_file: list[FileReport]
    examples: list[Example]

    def to_json(self) -> dict[str, Any]:
        return {"schemaVersion": 1, **_json(self)}

    def _epoch(self) -> str:
        last = f", the last of {self.last_step_sequences} sequences" if self.epoch_steps > 1 else ""
        return f"{self.epoch_steps:,} step{'s' * (self.epoch_steps > 1)}{last}"

    def _named(self) -> str:
        if len(self.sources) == 1:
            return self.sources[0].source
        return ", ".join(
            f"{own.source} ({own.share:.1%} of what is learned, {own.epoch_passes:.3g} times an epoch)"
            for own in self.sources
        )

    def __str__(self) -> str:
        """One line for the log."""
        why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.dropped.items()))
        dropped = f"{sum(self.dropped.values()):,} dropped" + (f" ({why})" if why else "")
        return (
            f"{self._named()}: {self.lines:,} lines, {self.documents:,} documents "
            f"({self.validation_documents:,} validate), {self.tokens:,} tokens "
            f"({self.trained_tokens:,} trained), {self.sequences:,} sequences "
            f"({self.packed_share:.1%} full), one epoch is {self._epoch()}; "
            f"{self.truncated_lines:,} lines truncated ({self.tokens_cut:,} tokens cut), {dropped}"
        )


def _json(value: Any) -> Any:
    if isinstance(value, list):
        return [_json(item) for item in value]
    if is_dataclass(value):
        return {camel_case(field.name): _json(getattr(value, field.name)) for field in fields(value)}
    return value
