"""Runs the engine until everything given is done, ready or failed, or until a signal says stop."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from finetune_operator.core.objects import Manifest
from finetune_operator.core.verdict import State, Verdict, verdict_of
from finetune_operator.local.engine import Engine


class Runner:
    """Ticks an engine; `show` is called after every tick."""

    def __init__(
        self, engine: Engine, show: Callable[[list[Manifest]], None], period_seconds: float = 0.25
    ) -> None:
        self._engine = engine
        self._period_seconds = period_seconds
        self._show = show
        self._signals: list[int] = []
        self._heeded = 0

    @property
    def signal(self) -> int | None:
        """The signal that stopped it, if one did."""
        return self._signals[0] if self._signals else None

    def until_settled(self) -> Verdict:
        """Run until everything is ready or something has failed; a signal ends it too."""
        verdict = verdict_of(self._engine.parents)
        for parents in self._ticks():
            verdict = verdict_of(parents)
            if verdict.state is not State.GOING_ON:
                break
        return verdict

    def while_running(self, command: subprocess.Popen[bytes]) -> int:
        """Run until a command ends, and return its exit code."""
        for _ in self._ticks():
            if command.poll() is not None:
                break
        if command.poll() is None:
            command.terminate()
        return command.wait()

    def for_ever(self) -> Verdict:
        """Run until a signal or a failure."""
        for parents in self._ticks():
            verdict = verdict_of(parents)
            if verdict.state is State.FAILED:
                return verdict
        return Verdict(state=State.READY)

    def until(self, is_over: Callable[[], bool]) -> None:
        """Run until something is so, or a signal."""
        for _ in self._ticks():
            if is_over():
                return

    def shut_down(self) -> None:
        """Stop everything and wait for it; a second signal kills."""
        self._engine.stop()
        self._heeded = len(self._signals)
        for _ in self._ticks():
            if self._engine.is_idle:
                break
        self._engine.kubelet.kill_all()
        self._engine.tick()  # the last pods' ends reach their Jobs, and those the status
        self._engine.tick()

    def _ticks(self) -> Iterator[list[Manifest]]:
        while len(self._signals) == self._heeded:
            self._engine.tick()
            parents = self._engine.parents
            self._show(parents)
            yield parents
            time.sleep(self._period_seconds)

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as the wish to stop."""

        def remember(number: int, _frame: FrameType | None) -> None:
            self._signals.append(number)

        before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
