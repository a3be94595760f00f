"""Which parents wait for a reconcile: each once, however often it is woken, and never two at a time.

As client-go's workqueue: https://pkg.go.dev/k8s.io/client-go/util/workqueue
"""

import asyncio
from collections import Counter

from finetune_operator.core.objects import Ref

# Long enough for a burst of events, such as the pods of a Job that start, to be one reconcile.
_BATCH_SECONDS = 0.1
_FIRST_RETRY_SECONDS, _MOST_RETRY_SECONDS = 0.5, 60.0


class WorkQueue:
    """A queue of references; everything happens in one event loop."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[Ref] = asyncio.Queue()
        self._waiting: set[Ref] = set()
        self._working: set[Ref] = set()
        self._woken_meanwhile: set[Ref] = set()
        self._timers: dict[Ref, asyncio.TimerHandle] = {}
        self._failures: Counter[Ref] = Counter()

    def depth(self, kind: str) -> int:
        """Return how many objects of a kind wait."""
        return sum(ref.kind == kind for ref in list(self._waiting))

    def wake(self, ref: Ref, after: float = _BATCH_SECONDS) -> None:
        """Reconcile an object in `after` seconds, or sooner when that is already so."""
        if ref in self._waiting:
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(ref)
        if timer is not None:
            if timer.when() <= loop.time() + after:
                return
            timer.cancel()
        self._timers[ref] = loop.call_later(after, self._due, ref)

    def retry(self, ref: Ref, at_most: float = _MOST_RETRY_SECONDS) -> None:
        """Reconcile again after a wait that doubles with every failure in a row, up to `at_most` seconds."""
        wait = _FIRST_RETRY_SECONDS * 2.0 ** self._failures[ref]
        self._failures[ref] += wait < at_most
        self.wake(ref, min(wait, at_most))

    def succeeded(self, ref: Ref) -> None:
        """Forget the failures of an object."""
        del self._failures[ref]

    async def take(self) -> Ref:
        """Return the next object; it is not given out again before `done`."""
        ref = await self._ready.get()
        self._waiting.discard(ref)
        self._working.add(ref)
        return ref

    def done(self, ref: Ref) -> None:
        """Take back an object that was worked on."""
        self._working.discard(ref)
        if ref in self._woken_meanwhile:
            self._woken_meanwhile.discard(ref)
            self._due(ref)

    def _due(self, ref: Ref) -> None:
        self._timers.pop(ref, None)
        if ref in self._working:
            self._woken_meanwhile.add(ref)
        elif ref not in self._waiting:
            self._waiting.add(ref)
            self._ready.put_nowait(ref)
