"""How far a new version has been tried: the memory of a canary, in the Deployment's annotation beside its
rollout's (serving/rollout.py)."""

from dataclasses import dataclass
from datetime import datetime

from finetune_operator.core.conditions import parse_timestamp


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Each step begins when the one before has passed."""

    since: str
    """When this step began."""
    step: int = 1
    """Of the weights, from 1. One more than there are: requests are moved, so that the version before can be
    replaced."""
    replaces: bool = False
    """Whether it takes the place of the version before now."""
    overdue_before: str | None = None
    """When a canary before this one was given up: its Deployment repeats that for a moment."""
    failed: str = ""
    """Why it was given up."""

    @property
    def began_at(self) -> datetime:
        """When this step began."""
        return parse_timestamp(self.since)
