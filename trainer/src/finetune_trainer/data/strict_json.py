"""JSON as RFC 8259 has it, for what Python's own reader lets through: each problem in one line."""

import json
import math
import re
from typing import Any

# Escapes of halves of a character beyond U+FFFF; alone they are no text that can be written as UTF-8.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class JsonError(ValueError):
    """`problem` is for people; `position` is a character's index in the text, or None."""

    def __init__(self, problem: str, position: int | None = None, *, left: float = math.inf) -> None:
        super().__init__(problem)
        self.problem = problem
        self.position = position
        self.left = left
        """Characters after the error: few where the text ended before the value did."""


def parse_json(text: str) -> Any:
    """The one value of `text`. Raises JsonError."""
    value, end = parse_beginning(text, 0)
    rest = text[end:].strip()
    if rest == ",":
        raise JsonError("a comma after the object; JSON lines have one object per line and nothing between")
    if rest:
        raise JsonError("more than one value in the line", end)
    return value


def parse_beginning(text: str, start: int) -> tuple[Any, int]:
    """The value that begins at `start`, and where it ends. Raises JsonError."""
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        left = 0 if error.msg.startswith("Unterminated") else len(text.rstrip()) - error.pos
        raise JsonError(_explained(error, text), error.pos, left=left) from error
    except RecursionError as error:
        raise JsonError("nested too deeply") from error
    source = text[start:end]
    if _NUL.search(source):
        raise JsonError("a NUL character (\\u0000) in a text")
    if _SURROGATE.search(source):
        _refuse_lone_surrogates(value)
    return value, end


def _explained(error: json.JSONDecodeError, text: str) -> str:
    at, before = text[error.pos : error.pos + 1], text[: error.pos].rstrip()
    if at in ("}", "]") and before.endswith(","):
        return f"a comma before {at}"
    if at == "'":
        return "a text in single quotes; JSON has double quotes, as json.dumps writes them"
    if at == "\x00":
        return "a NUL byte: the file is damaged, or UTF-16"
    if text.startswith(("None", "True", "False"), error.pos):
        return "None, True or False of Python; JSON has null, true and false"
    return error.msg


def _refuse_constant(name: str) -> None:
    raise JsonError(f"{name} is not JSON; write null or a number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise JsonError(f'the key "{twice}" is there twice in one object')
    return found


def _refuse_lone_surrogates(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise JsonError(f"{half} is half a character: its other half is missing") from error


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_object)
