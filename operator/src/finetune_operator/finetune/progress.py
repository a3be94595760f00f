"""The answer of GET /progress, by contract/README.md."""

from typing import Any

from finetune_operator.finetune.observed import ObservedProgress

PROGRESS_PORT = 9400


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def parse_progress(answer: dict[str, Any]) -> ObservedProgress:
    """Return the progress that a stage reports; what it leaves out or garbles is unknown."""
    return ObservedProgress(
        stage=str(answer.get("stage", "")),
        step=_whole(answer.get("step")),
        total_steps=_whole(answer.get("totalSteps")),
        loss=_number(answer.get("loss")),
        validation_loss=_number(answer.get("validationLoss")),
        tokens_per_second=_number(answer.get("tokensPerSecond")),
        eta_seconds=_number(answer.get("etaSeconds")),
        last_checkpoint=str(answer["lastCheckpoint"]) if answer.get("lastCheckpoint") else None,
    )
