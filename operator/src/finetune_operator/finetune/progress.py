"""The answer of GET /progress, by contract/README.md, from a pod that may answer anything."""

import json
import math
from typing import Any

from finetune_operator.finetune.observed import ObservedProgress

PROGRESS_PORT = 9400

MAX_ANSWER_BYTES = 64 * 1024
"""A real answer has some hundred."""

_MAX_INTEGER = 2**63 - 1  # what the status' schema, and so the API server, takes
_MAX_TEXT = 1024


class InvalidProgressError(ValueError):
    """Why an answer tells no progress."""


def parse_progress(body: bytes) -> ObservedProgress:
    """Return the progress that a stage reports; what it leaves out or garbles is unknown.

    Raises InvalidProgressError for what is no JSON object, or is too long.
    """
    answer = _object(body)
    return ObservedProgress(
        stage=_text(answer.get("stage")) or "",
        step=_whole(answer.get("step")),
        total_steps=_whole(answer.get("totalSteps")),
        loss=_number(answer.get("loss")),
        validation_loss=_number(answer.get("validationLoss")),
        tokens_per_second=_number(answer.get("tokensPerSecond")),
        eta_seconds=_number(answer.get("etaSeconds")),
        last_checkpoint=_text(answer.get("lastCheckpoint")),
        bytes_done=_first(_whole(answer.get("bytesFetched")), _whole(answer.get("bytesLoaded"))),
        bytes_total=_whole(answer.get("bytesTotal")),
    )


def _object(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_ANSWER_BYTES:
        raise InvalidProgressError(f"more than {MAX_ANSWER_BYTES} bytes")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:  # brackets in brackets: RecursionError
        raise InvalidProgressError(f"no JSON ({type(error).__name__})") from None
    if not isinstance(answer, dict):
        raise InvalidProgressError(f"JSON, but no object: {type(answer).__name__}")
    return answer


def _number(value: Any) -> float | None:
    """Return a finite number: Python's JSON reads NaN and 1e999, which the API server does not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _whole(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= _MAX_INTEGER else None


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _text(value: Any) -> str | None:
    """Return a text that UTF-8 can hold: half of a surrogate pair is JSON, and cannot be sent on."""
    if not isinstance(value, str) or not value or len(value) > _MAX_TEXT:
        return None
    return None if any("\ud800" <= letter <= "\udfff" for letter in value) else value
