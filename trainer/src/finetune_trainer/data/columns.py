"""A table on disk, a plain file a column: appended to as rows come, and mapped into memory by who reads it.

What is there is said by the table's index.json, which is written last: a table without one is not whole.
"""

import json
from array import array
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from finetune_trainer.contract.failure import DataError, Reason, storage_failure

INDEX = "index.json"
# A column's type, its array code and the ending of its file's name, which says it to a person.
_TYPES = {torch.int32: ("i", "int32"), torch.int64: ("q", "int64"), torch.bool: ("b", "bool")}

Columns = Mapping[str, torch.dtype]


@dataclass
class TableWriter:
    """Appends to the columns of a new table in `folder`; an old one there ends when it is opened.

    Raises StorageError where the volume does not take it.
    """

    folder: Path
    columns: Columns
    facts: dict[str, Any] = field(default_factory=dict)
    """What else the index says."""

    def __enter__(self) -> Self:
        self._rows = dict.fromkeys(self.columns, 0)
        self._stack = ExitStack()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / INDEX).unlink(missing_ok=True)
            self._files = {
                name: self._stack.enter_context(_file(self.folder, name, dtype).open("wb"))
                for name, dtype in self.columns.items()
            }
        except OSError as error:
            raise storage_failure(error, self.folder) from error
        return self

    def append(self, name: str, values: Iterable[int]) -> int:
        """Append to column `name`; how many values it has now."""
        try:
            content = array(_TYPES[self.columns[name]][0], values)
            content.tofile(self._files[name])
        except OSError as error:
            raise storage_failure(error, _file(self.folder, name, self.columns[name])) from error
        self._rows[name] += len(content)
        return self._rows[name]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            self._stack.close()
            if kind is None:
                part = self.folder / f"{INDEX}.part"
                part.write_text(json.dumps({"schemaVersion": 1, "columns": self._rows, **self.facts}) + "\n")
                part.replace(self.folder / INDEX)
        except OSError as problem:
            raise storage_failure(problem, self.folder) from error


def read_table(
    folder: Path, columns: Columns, *, optional: Columns | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The columns, mapped into memory and never written back, and the table's index.

    optional: columns that are read where the table has them. Raises DataError if the table is not there or
    not whole.
    """
    try:
        index = json.loads((folder / INDEX).read_text())
        rows = index["columns"]
        wanted = {**columns, **{name: kind for name, kind in (optional or {}).items() if name in rows}}
        return {name: _map(folder, name, kind, rows[name]) for name, kind in wanted.items()}, index
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DataError(
            f"{folder}: the tokenized dataset cannot be read ({error})",
            Reason.DATASET_INVALID,
            remedy="Run prepare first; delete prepared.json if it has run",
        ) from error


def _map(folder: Path, name: str, dtype: torch.dtype, rows: int) -> torch.Tensor:
    file = _file(folder, name, dtype)
    found, wanted = file.stat().st_size, rows * dtype.itemsize
    if found != wanted:
        raise ValueError(f"{file.name} has {found} bytes and not {wanted}")
    if not rows:  # nothing cannot be mapped
        return torch.empty(0, dtype=dtype)
    return torch.from_file(str(file), shared=False, size=rows, dtype=dtype)


def _file(folder: Path, name: str, dtype: torch.dtype) -> Path:
    return folder / f"{name}.{_TYPES[dtype][1]}"
