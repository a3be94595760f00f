"""An engine in a thread of this process, for as long as something is to be done."""

import atexit
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Lock, Thread

from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.verdict import State, verdict_of
from finetune_operator.local.engine import Engine
from finetune_operator.local.environments import Environments
from finetune_operator.local.errors import LocalError
from finetune_operator.local.layout import Layout
from finetune_operator.local.lock import exclusive
from finetune_operator.local.runnable import Runnable
from finetune_operator.local.runner import Runner

logger = logging.getLogger(__name__)
Order = Callable[[Engine], None]


class BackgroundEngine:
    """Runs what it is given; it ends with its last job, with `close`, or with the process.

    What it was running then goes on from there when it is applied again, as `finetune run` does.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._thread: _EngineThread | None = None

    def apply(self, manifests: Sequence[Manifest]) -> None:
        """Take manifests, as `Engine.apply` does. Raises LocalError."""
        runnable = Runnable.of(self._layout, manifests)
        for warning in runnable.warnings:
            logger.warning("%s", warning)
        self._order(lambda engine: engine.apply(runnable.manifests))

    def delete(self, ref: Ref) -> None:
        """Delete an object, once its pods have stopped. Raises LocalError."""
        self._order(lambda engine: engine.delete(ref))

    def close(self) -> None:
        """Stop what runs, as `finetune run` does at Ctrl-C, and wait for it."""
        if self._thread is not None:
            self._thread.close()
        atexit.unregister(self.close)

    def _order(self, order: Order) -> None:
        """Have an order obeyed in the engine's thread, which is started for it; raise what it raises."""
        done = self._thread.take(order) if self._thread else None
        if done is None:
            self._thread = _EngineThread(self._layout, order, after=self._thread)
            self._thread.start()
            atexit.register(self.close)
            done = self._thread.first
        done.result()


class _EngineThread(Thread):
    """One engine, from its first order until nothing is left to do."""

    def __init__(self, layout: Layout, order: Order, *, after: Thread | None) -> None:
        super().__init__(name="engine", daemon=True)
        self.first: Future[None] = Future()
        self._layout = layout
        self._after = after
        self._lock = Lock()
        self._orders = [(order, self.first)]
        self._closing = False
        self._is_over = False

    def take(self, order: Order) -> "Future[None] | None":
        """Queue an order; None when the engine is about to end."""
        done: Future[None] = Future()
        with self._lock:
            if self._is_over:
                return None
            self._orders.append((order, done))
        return done

    def close(self) -> None:
        """Stop what runs, and wait for it."""
        self._closing = True
        self.join()

    def run(self) -> None:
        """Run an engine; the folder is this one's alone meanwhile."""
        if self._after is not None:
            self._after.join()
        try:
            with exclusive(self._layout.lock):
                engine = Engine(self._layout, Environments.find(Config().images))
                runner = Runner(engine, lambda _parents: self._obey(engine))
                self._obey(engine)
                runner.until(lambda: self._has_nothing_left(engine))
                runner.shut_down()
        except Exception as error:
            logger.debug("the engine of %s ended", self._layout.storage, exc_info=True)
            self._refuse(error)

    def _obey(self, engine: Engine) -> None:
        """Do what was ordered since the last tick."""
        with self._lock:
            orders, self._orders = self._orders, []
        for order, done in orders:
            try:
                order(engine)
            except Exception as error:
                done.set_exception(error)
            else:
                done.set_result(None)

    def _has_nothing_left(self, engine: Engine) -> bool:
        with self._lock:
            self._is_over = self._closing or (not self._orders and _is_done(engine))
        if self._is_over:
            self._refuse(LocalError("the engine of this machine was stopped", "submit it again"))
        return self._is_over

    def _refuse(self, error: Exception) -> None:
        """Tell whoever still waits why there is no engine."""
        with self._lock:
            self._is_over = True
            for _, done in self._orders:
                done.set_exception(error)
            self._orders = []


def _is_done(engine: Engine) -> bool:
    """Return whether every job has ended, and nothing is served."""
    serves = any(parent["kind"] == "ModelDeployment" for parent in engine.parents)
    goes_on = any(verdict_of([parent]).state is State.GOING_ON for parent in engine.parents)
    return not serves and not goes_on and not engine.is_deleting and engine.is_idle
