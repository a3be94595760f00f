"""Who wants to know of checkpoints."""

from typing import Protocol


class CheckpointListener(Protocol):
    def __call__(self, name: str, skipped: tuple[str, ...] = ()) -> None:
        """`name` is durable, or was resumed from after the unreadable ones in `skipped`. Any thread."""


class CheckpointListeners:
    """One that comes after the run was resumed is told of that too."""

    def __init__(self) -> None:
        self._listeners: list[CheckpointListener] = []
        self._last: tuple[str, tuple[str, ...]] | None = None

    def append(self, listener: CheckpointListener) -> None:
        self._listeners.append(listener)
        if self._last is not None:
            listener(*self._last)

    def tell(self, name: str, skipped: tuple[str, ...] = ()) -> None:
        self._last = (name, skipped)
        for listener in self._listeners:
            listener(name, skipped)
