"""A dataset's file as bytes, decompressed by what it is, not by its name; other kinds are named."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pyarrow

from finetune_trainer.contract.failure import DataError

GZIP, ZSTANDARD, PARQUET_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"
_SAVE_AS_UTF8 = "Save it as UTF-8"
# How a file that is no dataset begins: what it is, and what to do.
_STRANGERS = {
    b"\xff\xfe": ("the file is UTF-16", _SAVE_AS_UTF8),
    b"\xfe\xff": ("the file is UTF-16", _SAVE_AS_UTF8),
    b"\x00\x00\xfe\xff": ("the file is UTF-32", _SAVE_AS_UTF8),
    b"PK\x03\x04": ("a zip archive", "Unpack it"),
    b"BZh": ("a bzip2 file", "Decompress it, or compress it with gzip or zstd"),
    b"\xfd7zXZ\x00": ("an xz file", "Decompress it, or compress it with gzip or zstd"),
    b"ARROW1": ("an Arrow file", "Save the dataset as parquet or JSON lines"),
    b"version https://git-lfs": (
        "a Git LFS pointer, not the file itself",
        "Run git lfs pull where it is from",
    ),
    b"<!doctype html": ("an HTML page", "Download the file itself, not the page that shows it"),
    b"<html": ("an HTML page", "Download the file itself, not the page that shows it"),
}
_LONGEST = max(map(len, _STRANGERS))


def is_parquet(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC


@contextmanager
def open_decompressed(file: Path, name: str) -> Iterator[io.BufferedReader]:
    """The bytes of `file`, called `name` in errors. Raises DataError for another kind, or if cut off."""
    with file.open("rb") as head:
        magic = head.read(_LONGEST)
    refuse_strangers(magic, name)
    try:
        with _decompressing(file, magic) as stream:
            refuse_strangers(stream.peek(_LONGEST)[:_LONGEST], name)
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile, pyarrow.ArrowException) as error:
        raise damaged(name, error) from error
    except OSError as error:
        if error.errno:  # the volume's; a decompressor's own have no number
            raise
        raise damaged(name, error) from error


def _decompressing(file: Path, magic: bytes) -> io.BufferedReader:
    if magic.startswith(GZIP):
        return io.BufferedReader(cast(io.RawIOBase, gzip.open(file, "rb")))
    if magic.startswith(ZSTANDARD):
        return io.BufferedReader(pyarrow.input_stream(str(file), compression="zstd"))
    return file.open("rb")


def refuse_strangers(magic: bytes, name: str) -> None:
    """Raises DataError if a file that begins with `magic` is of a known kind that holds no rows."""
    for beginning, (kind, remedy) in _STRANGERS.items():
        if magic.lstrip().lower().startswith(beginning.lower()):
            raise DataError(f"{name}: {kind}", remedy=f"{remedy}, and apply the FineTuneJob again")


def damaged(name: str, error: Exception) -> DataError:
    return DataError(
        f"{name}: the compressed file is damaged or cut off ({str(error).splitlines()[0]})",
        remedy="Write the file again, and apply the FineTuneJob again",
    )
