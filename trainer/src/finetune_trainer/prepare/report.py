"""The data report: what the dataset is, and what became of its lines."""

from dataclasses import asdict, dataclass
from typing import Any

from finetune_trainer.contract.progress.snapshot import camel_case


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """The run's data-report.json."""

    source: str
    revision: str | None
    """The commit that was fetched; None where the source has none."""
    split: str
    files: list[str]
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
    """Of the positions of these sequences, those that hold a document; the rest is padding."""
    epoch_steps: int
    """Steps that train every document once."""
    last_step_sequences: int
    """What the last of them holds; the rest of it is padding."""
    validation_documents: int
    truncated_lines: int
    tokens_cut: int
    """From the ends of the truncated lines."""
    dropped: dict[str, int]
    """Lines by why they train nothing."""
    first_dropped: dict[str, list[str]]
    """Where some of them are, "file:line"."""

    def to_json(self) -> dict[str, Any]:
        return {"schemaVersion": 1} | {camel_case(key): value for key, value in asdict(self).items()}

    def _epoch(self) -> str:
        last = f", the last of {self.last_step_sequences} sequences" if self.epoch_steps > 1 else ""
        return f"{self.epoch_steps:,} step{'s' * (self.epoch_steps > 1)}{last}"

    def __str__(self) -> str:
        """One line for the log."""
        why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.dropped.items()))
        dropped = f"{sum(self.dropped.values()):,} dropped" + (f" ({why})" if why else "")
        return (
            f"{self.source}: {self.lines:,} lines, {self.documents:,} documents "
            f"({self.validation_documents:,} validate), {self.tokens:,} tokens "
            f"({self.trained_tokens:,} trained), {self.sequences:,} sequences "
            f"({self.packed_share:.1%} full), one epoch is {self._epoch()}; "
            f"{self.truncated_lines:,} lines truncated ({self.tokens_cut:,} tokens cut), {dropped}"
        )
