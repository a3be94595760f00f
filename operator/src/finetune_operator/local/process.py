"""A container's process on this machine, under its shim."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune_operator.local import shim


@dataclass(frozen=True, kw_only=True)
class Command:
    """What a container comes down to here: a program, its environment and where its output goes."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    log: Path
    cwd: Path
    grace_seconds: int = 30


class Process:
    """A running command. The shim dies with the thread that made it: the one that the engine runs in."""

    def __init__(self, command: Command) -> None:
        self._asked_to_stop = False
        command.log.parent.mkdir(parents=True, exist_ok=True)
        with command.log.open("ab") as log:
            self._popen = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    shim.__file__,
                    str(os.getpid()),
                    str(command.grace_seconds),
                    *command.argv,
                ],
                env=dict(command.env),
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,  # a Ctrl-C in the terminal is the engine's to handle
            )

    @property
    def pid(self) -> int:
        """The shim's process id."""
        return self._popen.pid

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._popen.poll()

    def terminate(self) -> None:
        """Ask it to stop, once, however often this is called; the shim kills it after the grace period.

        A second SIGTERM means haste to some: torchrun's agent leaves its workers in the middle of saving.
        """
        if not self._asked_to_stop:
            self._asked_to_stop = True
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it and everything below it now."""
        self._signal(signal.SIGALRM)

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        return self._popen.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._popen.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._popen.send_signal(number)
