"""What `finetune run` shows: a live table on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live

from finetune_operator.cli.progress_table import progress_line, progress_table, sample_lines
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.plan import Event

_SECONDS_BETWEEN_LINES = 10.0


class Display(Protocol):
    """Where a run is shown."""

    def show(self, parents: list[Manifest]) -> None:
        """Show how the objects are; called several times a second."""

    def event(self, parent: Ref, event: Event) -> None:
        """Show that something happened."""

    def note(self, text: str) -> None:
        """Show a sentence."""

    def error(self, text: str) -> None:
        """Show what went wrong, on stderr."""

    def pause(self) -> None:
        """Leave the terminal to a command."""


class _NewSamples:
    """The answers to a job's prompts that were not shown yet."""

    def __init__(self) -> None:
        self._shown: dict[str, list[str]] = {}

    def of(self, parents: list[Manifest]) -> Iterator[str]:
        for parent in parents:
            uid, lines = parent["metadata"]["uid"], sample_lines(parent)
            if lines and self._shown.get(uid) != lines:
                self._shown[uid] = lines
                yield from lines


class PlainDisplay:
    """Lines: one an event, and one a job every few seconds while it gets on."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}
        self._samples = _NewSamples()
        self._next_at = 0.0

    def show(self, parents: list[Manifest]) -> None:
        """Print progress that is new, at a bounded rate."""
        for sample in self._samples.of(parents):
            self.note(sample)
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + _SECONDS_BETWEEN_LINES
        for parent in parents:
            line = progress_line(parent)
            if line and self._last.get(parent["metadata"]["uid"]) != line:
                self._last[parent["metadata"]["uid"]] = line
                self.note(line)

    def event(self, parent: Ref, event: Event) -> None:
        """Print an event."""
        self.note(f"{parent.kind} {parent.name}: {event.reason}: {event.message}")

    def note(self, text: str) -> None:
        """Print a sentence."""
        print(text, flush=True)

    def error(self, text: str) -> None:
        """Print to stderr."""
        print(text, file=sys.stderr, flush=True)

    def pause(self) -> None:
        """Nothing to leave."""


class LiveDisplay:
    """A table that is redrawn in place, with events above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._samples = _NewSamples()
        self._live = Live(console=console, refresh_per_second=4, redirect_stdout=False, redirect_stderr=False)
        self._live.start()

    def show(self, parents: list[Manifest]) -> None:
        """Redraw the table."""
        for sample in self._samples.of(parents):
            self.note(sample)
        if self._live.is_started:
            self._live.update(progress_table(parents))

    def event(self, parent: Ref, event: Event) -> None:
        """Print an event above the table."""
        style = "red" if event.type == "Warning" else "dim"
        self._console.print(
            f"{parent.kind} {parent.name}: {event.message}", style=style, highlight=False, markup=False
        )

    def note(self, text: str) -> None:
        """Print a sentence above the table."""
        self._console.print(text, highlight=False, markup=False)

    def error(self, text: str) -> None:
        """Leave the table as it is and print to stderr."""
        self._live.stop()
        print(text, file=sys.stderr, flush=True)

    def pause(self) -> None:
        """Leave the table as it is."""
        self._live.stop()


@contextmanager
def open_display() -> Iterator[Display]:
    """Yield the display that fits where stdout goes."""
    console = Console()
    if not console.is_terminal:
        yield PlainDisplay()
        return
    display = LiveDisplay(console)
    try:
        yield display
    finally:
        display.pause()
