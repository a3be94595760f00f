"""map() over rows by several processes, in the rows' order."""

import logging
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

from finetune_trainer.contract.failure import Failure, OutOfMemory
from finetune_trainer.distributed.parent_death import end_with_parent

logger = logging.getLogger(__name__)

# Items that travel together: what a message costs is little beside rendering and tokenizing 16 rows.
_CHUNK = 16
# Chunks on their way for each process, so that none waits while the results of others are written.
_AHEAD = 2

Item = TypeVar("Item")
Result = TypeVar("Result")
Chunk = list[Any]


def forked_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, processes: int
) -> Iterator[tuple[Item, Result]]:
    """Yield each item and `function` of it, which may be any closure, computed in forks of this process.

    Bounded memory: of `items` only some chunks are ahead of what was yielded. Raises the Failure of the first
    item that cannot be had or computed, and OutOfMemory if a process is killed. One process does not fork.
    """
    if processes == 1:
        yield from ((item, function(item)) for item in items)
        return
    logger.info("%d processes read the rows", processes)
    executor = ProcessPoolExecutor(
        processes, multiprocessing.get_context("fork"), initializer=_begin, initargs=(function,)
    )
    try:
        for item, result in _in_order(executor, _guarded(items), ahead=_AHEAD * processes):
            if isinstance(item, Failure):
                raise item
            yield item, result
    except BrokenProcessPool as error:
        raise OutOfMemory(
            "a process that tokenizes rows was killed, as where memory ran out",
            remedy="Give the stage more memory, or fewer CPUs: it has a process for each, and at most four",
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def _guarded(items: Iterable[Any]) -> Iterator[Any]:
    """A Failure comes as the last item: its turn is after what the items before it raise."""
    try:
        yield from items
    except Failure as failure:
        yield failure


def _in_order(
    executor: ProcessPoolExecutor, items: Iterator[Any], *, ahead: int
) -> Iterator[tuple[Any, Any]]:
    pending: deque[tuple[Chunk, Future[Chunk]]] = deque()
    while (chunk := list(islice(items, _CHUNK))) or pending:
        if chunk:
            pending.append((chunk, executor.submit(_results, chunk)))
        if not chunk or len(pending) > ahead:
            done, future = pending.popleft()
            yield from zip(done, future.result(), strict=True)


def _begin(function: Callable[[Any], Any]) -> None:
    """In a fork: it has the function by its memory, as closures cannot travel."""
    global _function
    _function = function
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the process that forked it
    end_with_parent(signal.SIGKILL)


_function: Callable[[Any], Any]


def _results(chunk: Chunk) -> Chunk:
    return [None if isinstance(item, Failure) else _function(item) for item in chunk]
