"""What a reconcile asks for. It is a value: whoever holds it can apply it, print it or compare it."""

from dataclasses import dataclass
from typing import Literal

from finetune_operator.core.objects import Manifest, Ref


@dataclass(frozen=True, kw_only=True)
class Event:
    """A Kubernetes event about the parent."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole outcome of one reconcile: children to apply and to delete, the parent's status, events."""

    status: Manifest
    apply: tuple[Manifest, ...] = ()
    delete: tuple[Ref, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    """Seconds until time alone can change the outcome; None when only an observation can."""
