"""The answer of GET /progress, by contract/README.md, from a pod that may answer anything."""

import json
from collections.abc import Iterator
from typing import Any

from finetune_operator.finetune.answers import number, text, whole
from finetune_operator.finetune.observed import ObservedProgress

PROGRESS_PORT = 9400

MAX_ANSWER_BYTES = 64 * 1024
"""A real answer has some hundred, and some thousand with samples."""
_MAX_SAMPLES = 8
_MAX_TRACKERS = 8


class InvalidProgressError(ValueError):
    """Why an answer tells no progress."""


def parse_progress(body: bytes) -> ObservedProgress:
    """Return the progress that a stage reports; what it leaves out or garbles is unknown.

    Raises InvalidProgressError for what is no JSON object, or is too long.
    """
    answer = _object(body)
    return ObservedProgress(
        stage=text(answer.get("stage")) or "",
        step=whole(answer.get("step")),
        total_steps=whole(answer.get("totalSteps")),
        loss=number(answer.get("loss")),
        validation_loss=number(answer.get("validationLoss")),
        reward_accuracy=number(answer.get("rewardAccuracy")),
        reward_margin=number(answer.get("rewardMargin")),
        tokens_per_second=number(answer.get("tokensPerSecond")),
        expert_load=number(answer.get("expertLoad")),
        expert_rank_load=number(answer.get("expertRankLoad")),
        slowest_rank=whole(answer.get("slowestRank")),
        slowdown=number(answer.get("slowdown")),
        eta_seconds=number(answer.get("etaSeconds")),
        last_checkpoint=text(answer.get("lastCheckpoint")),
        samples=tuple(_samples(answer.get("samples"))),
        samples_step=whole(answer.get("samplesStep")),
        tracking=tuple(_tracking(answer.get("tracking"))),
        bytes_done=_first(whole(answer.get("bytesFetched")), whole(answer.get("bytesLoaded"))),
        bytes_total=whole(answer.get("bytesTotal")),
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


def _samples(told: Any) -> Iterator[tuple[str, str]]:
    """Yield prompts and answers, as many as a job may ask for; an answer may be empty."""
    for sample in told[:_MAX_SAMPLES] if isinstance(told, list) else ():
        if isinstance(sample, dict) and (prompt := text(sample.get("prompt"))):
            yield prompt, text(sample.get("text")) or ""


def _tracking(told: Any) -> Iterator[tuple[str, str]]:
    """Yield where each tracker shows the run: a name, and a URL or a folder of the volume."""
    for name, place in list(told.items())[:_MAX_TRACKERS] if isinstance(told, dict) else ():
        if text(name) and (found := text(place)):
            yield name, found


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
