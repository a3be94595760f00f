"""What an adapter does to one tensor of the base, as references into the adapter's file."""

from dataclasses import dataclass

from finetune_converter.model_files.header import TensorEntry


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A part of a 2-D adapter tensor: rows [start, stop) and every `step`-th column from `first`."""

    entry: TensorEntry
    start: int
    stop: int
    first: int = 0
    step: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        return self.stop - self.start, len(range(self.first, self.entry.shape[1], self.step))


@dataclass(frozen=True, kw_only=True)
class LowRank:
    """base tensor += scale * b @ a, a [rank, columns] and b [rows, rank]; `transposed` for an embedding."""

    a: Factor
    b: Factor
    scale: float
    transposed: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.b.shape[0], self.a.shape[1]
        return (columns, rows) if self.transposed else (rows, columns)


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """The adapter brings the whole tensor (`modules_to_save`)."""

    entry: TensorEntry


Update = LowRank | Replacement


def whole(entry: TensorEntry) -> Factor:
    return Factor(entry=entry, start=0, stop=entry.shape[0])
