"""What an adapter does to one tensor of the base, as references into the adapter's file."""

from dataclasses import dataclass
from enum import StrEnum

from finetune_converter.model_files.header import TensorEntry


class ExpertColumns(StrEnum):
    """How the columns of all experts' lora_B follow each other in one tensor.

    The values are those of `lora_B_layout`, which Unsloth writes into adapter_config.json.
    """

    RANK_MAJOR = "rank_major"
    """Column i of every expert, then column i + 1: PEFT's."""
    GROUPED_BY_EXPERT = "grouped_by_expert"
    """All columns of an expert, then those of the next: Unsloth's until September 2026."""


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A part of a 2-D adapter tensor: rows [start, stop), and the columns of one of `parts` experts."""

    entry: TensorEntry
    start: int
    stop: int
    part: int = 0
    parts: int = 1
    layout: ExpertColumns = ExpertColumns.RANK_MAJOR

    @property
    def shape(self) -> tuple[int, int]:
        return self.stop - self.start, self.entry.shape[1] // self.parts


@dataclass(frozen=True, kw_only=True)
class LowRank:
    """base tensor += scale * b @ a, a [rank, columns] and b [rows, rank]; `transposed` for an embedding."""

    a: Factor
    b: Factor
    scale: float
    transposed: bool = False
    below: TensorEntry | None = None
    """The weight that the update is added to, where the adapter brings it (`base_layer.weight`)."""
    magnitude: TensorEntry | None = None
    """DoRA's [rows]: what the norm of each row of the sum is then set to."""

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.b.shape[0], self.a.shape[1]
        return (columns, rows) if self.transposed else (rows, columns)


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """The adapter brings the whole tensor (`modules_to_save`)."""

    entry: TensorEntry


Update = LowRank | Replacement


def brought(update: Update | None) -> TensorEntry | None:
    """The adapter's tensor that takes the place of the base's, before anything is added to it."""
    match update:
        case Replacement():
            return update.entry
        case LowRank():
            return update.below
    return None


def whole(entry: TensorEntry) -> Factor:
    return Factor(entry=entry, start=0, stop=entry.shape[0])
