"""JSON that is not one value per line: an array of objects, or objects over several lines each."""

import re
from collections.abc import Iterator
from typing import Any

from finetune_trainer.contract.failure import DataError
from finetune_trainer.data.row import Line, line_error
from finetune_trainer.data.strict_json import JsonError, parse_beginning

PIECE = 2**20
# So much is read of a value that does not end before it is called wrong: memory stays bounded.
LONGEST_VALUE = 256 * PIECE
# A literal or an escape that a piece's end cuts is called wrong so far before the end.
_CUT = 16
_VISIBLE = re.compile(r"\S")


def read_values(pieces: Iterator[str], name: str) -> Iterator[Line]:
    """The objects of a text that comes in `pieces`; `place` is the line that an object begins in.

    Raises DataError naming the line for what is not JSON or not an object.
    """
    text = _Text(pieces, name)
    if not text.skip("["):
        yield from _concatenated(text)
        return
    if not text.skip("]"):
        yield text.object()
        while not text.skip("]"):
            if not text.skip(","):
                raise text.error("no comma between two objects" if text.next() else "the array does not end")
            if text.next() == "]":
                raise text.error("a comma before ]")
            yield text.object()
    if text.next():
        raise text.error("text after the array's end")


def _concatenated(text: "_Text") -> Iterator[Line]:
    while text.next():
        yield text.object()
        if text.skip(","):
            raise text.error("a comma after an object that is in no array")


class _Text:
    """The part of a text that has been read and not yet consumed."""

    def __init__(self, pieces: Iterator[str], name: str) -> None:
        self._pieces, self._name, self._number = pieces, name, 1
        self._held, self._start = "", 0

    def error(self, problem: str, position: int | None = None) -> DataError:
        number = self._number + self._held.count("\n", self._start, position or self._start)
        return line_error(f"{self._name}:{number}", f"not JSON: {problem}")

    def next(self) -> str:
        """The next character that is no space, to which all is consumed; "" at the end."""
        while not (found := _VISIBLE.search(self._held, self._start)):
            self._consume(len(self._held))
            if not self._read_on():
                return ""
        self._consume(found.start())
        return found.group()

    def skip(self, character: str) -> bool:
        """Consume `character` if it is the next one."""
        if self.next() != character:
            return False
        self._consume(self._start + 1)
        return True

    def object(self) -> Line:
        self.next()
        value, end = self._value()
        place = f"{self._name}:{self._number}"
        self._consume(end)
        if not isinstance(value, dict):
            raise line_error(place, "not a JSON object")
        return Line(place=place, row=value)

    def _value(self) -> tuple[Any, int]:
        while True:
            try:
                return parse_beginning(self._held, self._start)
            except JsonError as error:
                short = error.left <= _CUT and len(self._held) - self._start < LONGEST_VALUE
                if short and self._read_on():
                    continue
                if error.left <= 0:
                    raise self.error("the object that begins here does not end") from error
                raise self.error(error.problem, error.position) from error

    def _consume(self, position: int) -> None:
        self._number += self._held.count("\n", self._start, position)
        self._start = position

    def _read_on(self) -> bool:
        """Read as much again as is held, so that a long value takes linear time. False at the end."""
        held = [self._held[self._start :]]
        size, wanted = 0, max(len(held[0]), 1)
        while size < wanted and (piece := next(self._pieces, None)) is not None:
            held.append(piece)
            size += len(piece)
        self._held, self._start = "".join(held), 0
        return size > 0
