"""Hours of an event loop in milliseconds."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Hours(asyncio.SelectorEventLoop):
    """A loop whose clock goes on to the next timer when there is nothing to do: no test waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        due = [timer.when() for timer in self._scheduled if not timer.cancelled()]
        if due and not self._ready:
            self._now = max(self._now, min(due))
        super()._run_once()


def run(test: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, waits and all, in no time."""
    with asyncio.Runner(loop_factory=_Hours) as runner:
        return runner.run(test)
