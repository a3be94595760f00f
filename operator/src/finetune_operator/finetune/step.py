"""Where a run stands: what it is doing, or has come to."""

from dataclasses import dataclass
from datetime import datetime

from finetune_operator.core.observed.job import ObservedJob
from finetune_operator.core.waiting import Wait
from finetune_operator.finetune.stages import Stage


@dataclass(frozen=True, kw_only=True)
class Running:
    """A stage's attempt runs, or is to be made when `job` is None."""

    stage: Stage
    attempt: int
    job: ObservedJob | None
    changed: str = ""
    """The field that has changed since it began."""


@dataclass(frozen=True, kw_only=True)
class Awaiting:
    """Another FineTuneJob has to come to something first."""

    stage: Stage
    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class BackingOff:
    """An attempt failed; the next one waits for its time."""

    stage: Stage
    attempt: int
    after: ObservedJob
    until: datetime


@dataclass(frozen=True, kw_only=True)
class Suspended:
    """The user asked for a pause before this stage was done."""

    stage: Stage
    waiting: Wait | None = None
    """For a pod that should have ended and has not."""


@dataclass(frozen=True, kw_only=True)
class Failed:
    """No further attempt is made."""

    stage: Stage
    reason: str
    message: str
    since: datetime | None


@dataclass(frozen=True, kw_only=True)
class Complete:
    """Every stage is done."""

    since: datetime | None


Step = Awaiting | Running | BackingOff | Suspended | Failed | Complete
