"""Children that somebody changes back each time: not fought every second, and who it is is said.

A child whose spec we have not changed since, and that is to be applied again, was changed by another: a
controller, a person, or a webhook in the very request. The first times it is put right at once; then after
waits that double, up to ten minutes, until it has stayed as we applied it for longer than that.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from finetune_operator.core.digest import spec_hash_of
from finetune_operator.core.labels import MANAGER
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.child import ObservedChild
from finetune_operator.core.plan import Event

_AT_ONCE = 3
_FIRST, _MOST = timedelta(seconds=10), timedelta(minutes=10)


@dataclass
class _Fight:
    applied_at: datetime
    times: int = 1

    @property
    def pause(self) -> timedelta:
        """How long the next change is let be."""
        if self.times < _AT_ONCE:
            return timedelta(0)
        return min(_FIRST * 2.0 ** min(self.times - _AT_ONCE, 10), _MOST)

    def is_over(self, now: datetime) -> bool:
        """Whether what was applied has stayed so."""
        return now > self.applied_at + self.pause + _MOST


@dataclass
class Rewrites:
    """How often each child was put right, while that goes on."""

    cache: Cache
    _fights: dict[Ref, _Fight] = field(default_factory=dict)

    def pause_of(self, child: Manifest, now: datetime) -> timedelta:
        """Return how long a child is still to be let be; zero for one that is to be applied now."""
        fight = self._fights.get(Ref.of(child))
        if fight is None or not self._was_changed(child):
            return timedelta(0)
        return max(fight.applied_at + fight.pause - now, timedelta(0))

    def applies(self, child: Manifest, now: datetime) -> bool:
        """Take note that a child is applied; return whether it is time to say who changes it."""
        ref, before = Ref.of(child), self._fights.get(Ref.of(child))
        if not self._was_changed(child):
            self._fights.pop(ref, None)
            return False
        if before is None or before.is_over(now):
            self._fights = {each: fight for each, fight in self._fights.items() if not fight.is_over(now)}
            self._fights[ref] = _Fight(applied_at=now)
            return False
        before.applied_at, before.times = now, before.times + 1
        return before.times == _AT_ONCE

    def _was_changed(self, child: Manifest) -> bool:
        live = self.cache.get(Ref.of(child), ObservedChild)
        return live is not None and live.spec_hash == spec_hash_of(child)


def rewritten(child: Manifest, live: Manifest) -> Event:
    """Return what is said of a child that is changed again and again: by whom, as managedFields have it."""
    name = f"{child['kind']} {child['metadata']['name']}"
    who = " and ".join(_others(live)) or "an admission webhook"
    return Event(
        type="Warning",
        reason="ChildRewritten",
        message=f"{who} changes {name} each time that it is applied: it is now put right ever more seldom. "
        "Have the operator's objects left alone there (label app.kubernetes.io/managed-by), "
        "or ask for the same in podOverrides",
    )


def _others(live: Manifest) -> list[str]:
    """Return who else has a say in the spec or the labels; what a webhook changes counts as our own."""
    entries: list[Manifest] = live["metadata"].get("managedFields") or []
    return sorted({entry.get("manager", "") for entry in entries if _has_a_say(entry)} - {MANAGER, ""})


def _has_a_say(entry: Manifest) -> bool:
    fields = entry.get("fieldsV1") or {}
    is_status = entry.get("subresource") == "status"
    return not is_status and ("f:spec" in fields or "f:labels" in fields.get("f:metadata", {}))
