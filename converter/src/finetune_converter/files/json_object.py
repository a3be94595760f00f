"""JSON files of a model folder: bounded in size, an object, no key twice."""

import json
from pathlib import Path
from typing import Any

from finetune_converter.failure import Failure, Reason

MAX_JSON_BYTES = 16 * 1024 * 1024


def read_json_object(path: Path, reason: Reason, remedy: str) -> dict[str, Any]:
    """The object in a JSON file. Raises Failure(reason) naming the file when it is not one."""
    fault = _fault(path)
    if isinstance(fault, dict):
        return fault
    raise Failure(reason, f"{path}: {fault}", remedy)


def _fault(path: Path) -> dict[str, Any] | str:
    if not path.is_file():
        return "no such file"
    if path.stat().st_size > MAX_JSON_BYTES:
        return f"larger than {MAX_JSON_BYTES} bytes"
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except RecursionError:
        return "not JSON: nested too deep"
    except ValueError as error:
        return f"not JSON: {str(error)[:160]}"
    return content if isinstance(content, dict) else "not a JSON object"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in content if names.count(name) > 1)
        raise ValueError(f"key {twice!r} appears twice")
    return content
