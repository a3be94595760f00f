"""Parquet, with the same rows as JSON lines; an error names the file and the row."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow.parquet import ParquetFile

from finetune_trainer.contract.failure import DataError
from finetune_trainer.data.opening import refuse_strangers
from finetune_trainer.data.row import Line

PARQUET = ".parquet"
# Rows of long conversations are large: so many of them are in memory at once.
_ROWS = 1024


def read_rows(file: Path, name: str, *, ignored: tuple[str, ...] = ()) -> Iterator[Line]:
    """The rows of `file`, called `name` in errors, numbered from 1 over all row groups.

    Columns that are `ignored` are not read. A null is as a key that is not there: parquet has every key in
    every row. Raises DataError if the file is damaged or cut off, naming how far it could be read.
    """
    with file.open("rb") as stream:
        refuse_strangers(stream.read(64), name)
    number = 0
    try:
        with ParquetFile(file) as source:
            columns = [column for column in source.schema_arrow.names if column not in ignored]
            for batch in source.iter_batches(batch_size=_ROWS, columns=columns):
                for row in batch.to_pylist(maps_as_pydicts="strict"):
                    number += 1
                    yield Line(place=f"{name}:{number}", row=_without_nulls(row))
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, KeyError) as error:
        if isinstance(error, OSError) and error.errno:  # the volume's; pyarrow's own have no number
            raise
        first = str(error).splitlines()[0]
        raise DataError(
            f"{name}: not parquet, or damaged after row {number} ({first})",
            remedy="Write the file again, and apply the FineTuneJob again",
        ) from error


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value
