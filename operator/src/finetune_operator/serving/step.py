"""Where a deployment stands, from what was observed alone."""

from dataclasses import dataclass

from finetune_operator.core.observed.deployment import ObservedDeployment
from finetune_operator.core.termination import Termination
from finetune_operator.core.waiting import Wait
from finetune_operator.serving.model import NoModel, ServedModel
from finetune_operator.serving.rollout import Rollout

# A server that crashed that often without ever being ready is not going to be.
_CRASHES = 3


@dataclass(frozen=True, kw_only=True)
class ScaledToZero:
    """Nobody asked for a server."""


@dataclass(frozen=True, kw_only=True)
class Loading:
    """Replicas are not ready yet."""

    path: str
    ready: int
    waiting: Wait | None = None
    """Why a pod is not there or does not run."""


@dataclass(frozen=True, kw_only=True)
class Serving:
    """Every replica answers, with the newest template."""

    ready: int


@dataclass(frozen=True, kw_only=True)
class Crashing:
    """A server ends with an error, and is started again."""

    end: Termination
    restarts: int

    @property
    def is_hopeless(self) -> bool:
        """Whether waiting alone cannot help."""
        return self.restarts >= _CRASHES


@dataclass(frozen=True, kw_only=True)
class NotReadyInTime:
    """The rollout made no progress for as long as it may."""

    waiting: Wait | None = None


@dataclass(frozen=True, kw_only=True)
class RolledBack:
    """A version that was not ready in time gave way to the one before."""

    path: str
    before: str
    ready: int
    why: str = ""
    """What spoke against it while it was tried; empty where it was not ready in time."""


@dataclass(frozen=True, kw_only=True)
class Trying:
    """A new version is tried beside the one that serves."""

    path: str
    before: str
    weight: int
    """Of a hundred requests those that it is given."""
    why: str
    """What it waits for."""


Step = NoModel | ScaledToZero | Loading | Serving | Crashing | NotReadyInTime | RolledBack | Trying


def step_of(
    replicas: int,
    model: ServedModel | NoModel,
    rollout: Rollout | None,
    seen: ObservedDeployment | None,
    trying: Trying | None = None,
) -> Step:
    """Return what a deployment is doing, or has come to."""
    if isinstance(model, NoModel):
        return model
    if replicas == 0:
        return ScaledToZero()
    ready = seen.ready if seen else 0
    if rollout and rollout.rolled_back:
        why = rollout.trial.failed if rollout.trial else ""
        return RolledBack(path=model.path, before=rollout.current.model, ready=ready, why=why)
    if trying:
        return trying
    if seen is None:
        return Loading(path=model.path, ready=0)
    if seen.up_to_date and seen.updated >= replicas and ready >= replicas:
        return Serving(ready=ready)
    if seen.termination and seen.restarts and ready < replicas:
        return Crashing(end=seen.termination, restarts=seen.restarts)
    if seen.overdue_since:
        return NotReadyInTime(waiting=seen.waiting)
    return Loading(path=model.path, ready=ready, waiting=seen.waiting)
