"""One program of the control plane: started with its log in a file, waited for, ended."""

import ctypes
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError

from cluster.owned_tls import owned_tls
from waiting import HANG_SECONDS

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


@dataclass(kw_only=True)
class Process:
    """`follows_parent`: the kernel kills it when this Python dies, however it dies; else it outlives us."""

    name: str
    command: list[str]
    folder: Path
    follows_parent: bool = True
    env: dict[str, str] = field(default_factory=dict)
    running: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        assert self.running, f"{self.name} was not started"
        return self.running.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=os.environ | self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in a terminal ends pytest first, and pytest ends us in order
                preexec_fn=_die_with_parent if self.follows_parent else None,
            )

    def stop(self, *, timeout: float = 20) -> None:
        """Ends it in order; kills it when that takes longer than `timeout` seconds."""
        if not self.running:
            return
        self.running.terminate()
        try:
            self.running.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
        self.running = None

    def kill(self) -> None:
        if self.running:
            self.running.kill()
            self.running.wait()
        self.running = None

    def wait_until(self, ready: Callable[[], bool], *, timeout: float = HANG_SECONDS) -> None:
        """Raises RuntimeError with the end of the log when the program dies or is not ready in time."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.running and self.running.poll() is not None:
                raise RuntimeError(
                    f"{self.name} exited with {self.running.returncode}:\n{self._end_of_log()}"
                )
            if ready():
                return
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} was not ready after {timeout:.0f} s:\n{self._end_of_log()}")

    def _end_of_log(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def answers(url: str, certificate: Path | None = None) -> bool:
    """Whether an HTTP GET of `url` gives 200 within a second; `certificate`: the one to trust for https."""
    with owned_tls(certificate) if certificate else nullcontext() as trust:
        try:
            with urllib.request.urlopen(url, timeout=1, context=trust) as response:
                return bool(response.status == 200)
        except HTTPError as refused:  # it is the answer, which holds the connection
            refused.close()
            return False
        except OSError:
            return False
