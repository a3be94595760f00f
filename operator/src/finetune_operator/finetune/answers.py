"""Values that a stage tells: it runs what its user wants, and may tell anything."""

import math
from typing import Any

_MAX_INTEGER = 2**63 - 1  # what the status' schema, and so the API server, takes
_MAX_TEXT = 1024


def number(value: Any) -> float | None:
    """Return a finite number: Python's JSON reads NaN and 1e999, which the API server does not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        told = float(value)
    except OverflowError:
        return None
    return told if math.isfinite(told) else None


def whole(value: Any) -> int | None:
    """Return a whole number that is not negative; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= _MAX_INTEGER else None


def text(value: Any) -> str | None:
    """Return a text that UTF-8 can hold: half of a surrogate pair is JSON, and cannot be sent on."""
    if not isinstance(value, str) or not value or len(value) > _MAX_TEXT:
        return None
    return None if any("\ud800" <= letter <= "\udfff" for letter in value) else value
