"""JSON files that hold one object: strictly for what others wrote, leniently for our own records."""

import json
from pathlib import Path
from typing import Any

from finetune_converter.failure import Failure, Reason

MAX_JSON_BYTES = 16 * 1024 * 1024


class _JsonError(ValueError):
    """What is wrong with a file; `read_json_object` adds its name."""


def read_json_object(path: Path, reason: Reason, remedy: str) -> dict[str, Any]:
    """The object in a JSON file: bounded in size, no key twice.

    Raises Failure(reason) naming the file when it is not one.
    """
    try:
        return _parse(path)
    except _JsonError as error:
        raise Failure(f"{path}: {error}", reason, remedy) from error


def read_record(path: Path) -> dict[str, Any]:
    """A small file of our own; empty when there is none, or a crash cut it off."""
    try:
        return _parse(path)
    except (OSError, _JsonError):
        return {}


def _parse(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise _JsonError("no such file")
    if path.stat().st_size > MAX_JSON_BYTES:
        raise _JsonError(f"larger than {MAX_JSON_BYTES} bytes")
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except RecursionError as error:
        raise _JsonError("not JSON: nested too deep") from error
    except ValueError as error:
        raise _JsonError(f"not JSON: {str(error)[:160]}") from error
    if not isinstance(content, dict):
        raise _JsonError("not a JSON object")
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in content if names.count(name) > 1)
        raise ValueError(f"key {twice!r} appears twice")
    return content
