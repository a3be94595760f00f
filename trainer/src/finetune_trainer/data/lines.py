"""JSON lines; an error names the file and the line. JSON of another layout goes to json_values.py."""

import codecs
from collections.abc import Iterator
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import Any

from finetune_trainer.data.json_values import PIECE, read_values
from finetune_trainer.data.opening import open_decompressed
from finetune_trainer.data.row import Line, line_error
from finetune_trainer.data.strict_json import JsonError, parse_json

_PEEKED = 64
__all__ = ["Line", "line_error", "read_lines"]


def read_lines(file: Path, name: str) -> Iterator[Line]:
    """The rows of a JSON file, which may be compressed, called `name` in errors.

    They are JSON lines, an array of objects, or objects over several lines each. Empty lines at the end are
    allowed. Raises DataError for a line that is empty, not UTF-8, not JSON, or not an object.
    """
    with open_decompressed(file, name) as stream:
        is_array = stream.peek(_PEEKED)[:_PEEKED].removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")
        head = b"" if is_array else stream.readline()
        if is_array or _goes_on(head):
            yield from read_values(_pieces(head, stream, name), name)
        else:
            yield from _read_objects(chain([head], stream), name)


def _goes_on(line: bytes) -> bool:
    """Whether a file's first line is the beginning of an object that ends in another one."""
    try:
        parse_json(line.decode("utf-8-sig", errors="replace").rstrip())
    except JsonError as error:
        return error.left <= 0 and bool(line.strip()) and not error.problem.startswith("Unterminated")
    return False


def _pieces(head: bytes, stream: BufferedReader, name: str) -> Iterator[str]:
    """The text, which begins with `head`, in pieces of bounded length."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    number = 1
    for content in chain([head], iter(lambda: stream.read(PIECE), b"")):
        try:
            piece = decoder.decode(content)
        except UnicodeDecodeError as error:
            line = number + content.count(b"\n", 0, error.start)
            raise line_error(f"{name}:{line}", "not UTF-8") from error
        number += piece.count("\n")
        yield piece


def _read_objects(lines: Iterator[bytes], name: str) -> Iterator[Line]:
    empty: str | None = None
    for number, content in enumerate(lines, start=1):
        place = f"{name}:{number}"
        if not content.strip():
            empty = empty or place
            continue
        if empty:
            raise line_error(empty, "the line is empty")
        yield Line(place=place, row=_parse(content, place))


def _parse(content: bytes, place: str) -> dict[str, Any]:
    try:
        row = parse_json(content.decode("utf-8-sig").rstrip())
    except UnicodeDecodeError as error:
        raise line_error(place, f"not UTF-8 (byte {error.start + 1})") from error
    except JsonError as error:
        where = "" if error.position is None else f" (column {error.position + 1})"
        raise line_error(place, f"not JSON: {error.problem}{where}") from error
    if not isinstance(row, dict):
        raise line_error(place, "not a JSON object")
    return row
