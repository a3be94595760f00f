"""What the status keeps of a run whose Jobs were cleaned away: by a cleaner, or by `kubectl delete job`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.capacity.architecture import Architecture
from finetune_operator.core.capacity.base_model import told_architecture
from finetune_operator.core.conditions import condition_of, time_of, timestamp, true_condition_of
from finetune_operator.core.labels import RETRIED_AT
from finetune_operator.finetune.evaluation import Scored, scored_of
from finetune_operator.finetune.selection import Selected, selected_of
from finetune_operator.finetune.stages import TRAITS, Stage
from finetune_operator.finetune.step import Failed


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What was done of a run. A Job that is there says it better."""

    done: Mapping[Stage, datetime | None] = field(default_factory=dict)
    failed: Failed | None = None
    restarts: int = 0
    started_at: datetime | None = None
    selected: Selected | None = None
    """The step that training exported."""
    told: Architecture | None = None
    """The base, as prepare read it."""
    pushed_to: str | None = None
    """Where the model was pushed to last."""
    scored: tuple[Scored, ...] | None = None
    """What base and merged model reached in the evaluation."""

    @property
    def failed_at(self) -> datetime | None:
        """When it failed; None when it has not."""
        return self.failed.since if self.failed else None


NOTHING = Memory()


def memory_of(status: Mapping[str, Any], run: str) -> Memory:
    """Return what a status says of a run; nothing when it is of another run, or of one that never started."""
    if status.get("run") != run or "startTime" not in status:
        return NOTHING
    return Memory(
        done=dict(_done(status)),
        failed=_failed(status),
        restarts=status.get("restarts", 0),
        started_at=time_of(status["startTime"]),
        selected=selected_of(status.get("selection")),
        told=told_architecture(status),
        pushed_to=status.get("pushedTo"),
        scored=scored_of(status.get("evaluation")),
    )


def _done(status: Mapping[str, Any]) -> Iterator[tuple[Stage, datetime | None]]:
    """Yield the stages that are done, and when; those before the one that goes on, too."""
    names = [stage.value for stage in Stage]
    begun = names.index(status["stage"]) if "stage" in status else len(names)
    for position, stage in enumerate(Stage):
        name = TRAITS[stage].condition
        said = true_condition_of(status, name) if name else {}
        if said or position < begun:
            yield stage, time_of(said.get("lastTransitionTime"))


def _failed(status: Mapping[str, Any]) -> Failed | None:
    """Return the failure. What does not fit is compared anew: it left no Job."""
    said, fits = true_condition_of(status, "Failed"), condition_of(status, "Fits")
    if not said or "stage" not in status or said["reason"] == fits.get("reason"):
        return None
    return Failed(
        stage=Stage(status["stage"]),
        reason=said["reason"],
        message=said["message"],
        since=time_of(said["lastTransitionTime"]),
    )


def forgiveness(status: Mapping[str, Any], ends: Iterable[datetime] = ()) -> dict[str, str]:
    """Return the annotation that forgives what a Failed job's status says, and Jobs that failed then.

    It is the newest failure's own time, so that no two clocks are compared (ADR 17).
    """
    said = condition_of(status, "Failed")["lastTransitionTime"]
    return {RETRIED_AT: max([said, *map(timestamp, ends)])}


@dataclass(frozen=True, kw_only=True)
class Retry:
    """What the annotation says that asks for another try."""

    at: datetime | None = None
    """Failures up to then are forgiven: somebody has done what they said."""
    unread: str = ""
    """What stands there and is no time."""


NOBODY_ASKED = Retry()


def retry_of(job: FineTuneJob) -> Retry:
    """Return what a job's annotation says; a time without a zone is of UTC."""
    text = (job.metadata.annotations or {}).get(RETRIED_AT, "")
    try:
        said = time_of(text)
    except ValueError:
        return Retry(unread=text)
    return Retry(at=said.replace(tzinfo=UTC) if said and said.tzinfo is None else said)
