"""JSON lines; an error names the file and the line."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_trainer.contract.failure import DataError

JSON_LINES = ".jsonl"
_REMEDY = "Correct the line, or delete it, and apply the FineTuneJob again"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a dataset; `place` is "file.jsonl:17"."""

    place: str
    row: dict[str, Any]

    def error(self, problem: str) -> DataError:
        return line_error(self.place, problem)


def line_error(place: str, problem: str) -> DataError:
    return DataError(f"{place}: {problem}", remedy=_REMEDY)


def read_lines(file: Path, name: str) -> Iterator[Line]:
    """The lines of `file`, called `name` in errors. Empty lines at the end of the file are allowed.

    Raises DataError for a line that is empty, not UTF-8, not JSON, or not an object.
    """
    empty: str | None = None
    with file.open("rb") as stream:
        for number, content in enumerate(stream, start=1):
            place = f"{name}:{number}"
            if not content.strip():
                empty = empty or place
                continue
            if empty:
                raise line_error(empty, "the line is empty")
            yield Line(place=place, row=_parse(content, place))


def _parse(content: bytes, place: str) -> dict[str, Any]:
    try:
        row = json.loads(content.rstrip().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise line_error(place, f"not UTF-8 (byte {error.start + 1})") from error
    except json.JSONDecodeError as error:
        raise line_error(place, f"not JSON: {error.msg} (column {error.colno})") from error
    except RecursionError as error:
        raise line_error(place, "not JSON: nested too deeply") from error
    if not isinstance(row, dict):
        raise line_error(place, "not a JSON object")
    return row
