"""Parquet, with the same rows as JSON lines; an error names the file and the row."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow
from pyarrow.parquet import ParquetFile

from finetune_trainer.contract.failure import DataError
from finetune_trainer.data.lines import Line

PARQUET = ".parquet"
# Of a row only what the formats read: a dataset's other columns may be large.
COLUMNS = ("messages", "text")


def read_rows(file: Path, name: str) -> Iterator[Line]:
    """The rows of `file`, called `name` in errors, numbered from 1 over all row groups.

    Raises DataError if the file is damaged or cut off, naming how far it could be read.
    """
    number = 0
    try:
        with ParquetFile(file) as source:
            columns = [column for column in source.schema_arrow.names if column in COLUMNS]
            for batch in source.iter_batches(columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield Line(place=f"{name}:{number}", row=row)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno:  # the volume's; pyarrow's own have no number
            raise
        first = str(error).splitlines()[0]
        raise DataError(
            f"{name}: not parquet, or damaged after row {number} ({first})",
            remedy="Write the file again, and apply the FineTuneJob again",
        ) from error
