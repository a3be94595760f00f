"""How long attention takes on this rank: the part of every layer in which it waits for no other.

A step takes as long on a fast rank as on a slow one, as layers end in collectives. GPUs are asked by events
between their kernels, which stops nothing; attention is an operator of its own in compiled layers too.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch


class Stopwatch:
    """Adds up what runs within `running`, on a GPU or on the host."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._spans: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def running(self, device: torch.device) -> AbstractContextManager[None]:
        """Nothing where attention is compiled with its layer, as it is for CPUs: a clock cannot be."""
        return nullcontext() if torch.compiler.is_compiling() else self._timed(device)

    @contextmanager
    def _timed(self, device: torch.device) -> Iterator[None]:
        if device.type == "cuda":
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            start.record()
            yield
            end.record()
            self._spans.append((start, end))
            return
        began = time.perf_counter()
        yield
        self._seconds += time.perf_counter() - began

    def take(self) -> float:
        """Seconds since this was last asked; waits for the GPU to have done what is measured."""
        if self._spans:
            self._spans[-1][1].synchronize()
        seconds = self._seconds + sum(start.elapsed_time(end) for start, end in self._spans) / 1000
        self._seconds, self._spans = 0.0, []
        return seconds


ATTENTION = Stopwatch()
"""One a process, as attention is called from compiled layers, which pass on tensors alone."""
