"""A row of a dataset, and the place that errors name."""

from dataclasses import dataclass
from typing import Any

from finetune_trainer.contract.failure import DataError

_REMEDY = "Correct the line, or delete it, and apply the FineTuneJob again"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row; `place` is "file.jsonl:17", in parquet the row's number."""

    place: str
    row: dict[str, Any]

    def error(self, problem: str, remedy: str = _REMEDY) -> DataError:
        return line_error(self.place, problem, remedy)


def line_error(place: str, problem: str, remedy: str = _REMEDY) -> DataError:
    return DataError(f"{place}: {problem}", remedy=remedy)
