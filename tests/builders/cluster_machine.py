"""A cluster and a controller's cache of it, whose events hypothesis chooses: both end alike."""

from random import Random
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from simulated_watch import KINDS, SimulatedWatch

from finetune_operator.core.objects import Ref
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.kinds import observe
from finetune_operator.core.observed.object import ObservedObject

_KINDS = st.sampled_from([kind for _, kind in KINDS])
_PLACES = st.integers(0, 15)


class ClusterMachine(RuleBasedStateMachine):
    """Each rule is one event of the API server's, or one word of it that arrives."""

    events: ClassVar[int] = 0
    lives: ClassVar[int] = 0

    @initialize(breaks=st.booleans(), content=st.integers(0, 2**32))
    def start(self, breaks: bool, content: int) -> None:
        """Take an empty cluster; `content` is what its objects say."""
        self.watch = SimulatedWatch(draw=Random(content), breaks=breaks)

    @rule(kind=st.sampled_from(KINDS), name=st.integers(0, 3), answered=st.booleans())
    def write(self, kind: tuple[str, str], name: int, answered: bool) -> None:
        """Make or change an object; the answer to a request of ours comes some time."""
        self._count()
        self.watch.write(kind, f"faq-{name}", answered=answered)

    @precondition(lambda self: self.watch.there)
    @rule(place=_PLACES)
    def delete(self, place: int) -> None:
        """Delete an object."""
        self._count()
        refs = sorted(self.watch.there)
        self.watch.delete(refs[place % len(refs)])

    @rule(kind=_KINDS)
    def deliver(self, kind: str) -> None:
        """A watch says its next word."""
        self._count()
        self.watch.deliver(kind)

    @precondition(lambda self: self.watch.answers)
    @rule(place=_PLACES)
    def answer(self, place: int) -> None:
        """An answer arrives, in no order."""
        self._count()
        self.watch.answer(place % len(self.watch.answers))

    @precondition(lambda self: self.watch.breaks)
    @rule(kind=_KINDS)
    def break_off(self, kind: str) -> None:
        """A watch breaks, and lists again."""
        self._count()
        self.watch.break_off(kind)

    @precondition(lambda self: self.watch.breaks)
    @rule()
    def resync(self) -> None:
        """What a broken watch has missed is looked for."""
        self._count()
        self.watch.resync()

    def teardown(self) -> None:
        """Everything arrives, and the cache is what is there, by every way that leads to an object."""
        ClusterMachine.lives += 1
        self.watch.settle()
        check_converged(self.watch)

    @classmethod
    def _count(cls) -> None:
        ClusterMachine.events += 1


def check_converged(watch: SimulatedWatch) -> None:
    """Fail unless the cache is as one that was filled now."""
    fresh = Cache()
    for manifest in watch.there.values():
        fresh.put(observe(manifest))
    assert _held(watch.cache) == _held(fresh)
    # A stale entry of an index would lead nowhere, or astray.
    assert (watch.cache._owned, watch.cache._components) == (fresh._owned, fresh._components)
    assert set(watch.cache._delayed) == set(fresh._delayed)


def _held(cache: Cache) -> dict[Ref, tuple[str, int]]:
    objects = (obj for _, kind in KINDS for obj in cache.of_kind(kind, ObservedObject))
    return {obj.ref: (obj.uid, obj.version) for obj in objects}
