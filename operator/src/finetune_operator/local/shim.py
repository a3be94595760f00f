"""The shim of one container, as containerd-shim is: starts it, passes signals on, and leaves nothing behind.

Run as a script with the standard library alone:

    shim.py PARENT_PID GRACE_SECONDS COMMAND...

It ends with the command's exit code (128 + n for signal n). SIGTERM goes to the command alone, as a kubelet
sends it; after the grace period everything below is killed. When the engine dies, by SIGKILL too, the kernel
sends the shim a SIGTERM; whatever the command left behind, in whatever session, is killed in the end, because
the shim is the subreaper of its descendants.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, argument: int) -> None:
    """Linux only; elsewhere the shim still passes signals on and kills the command's process group."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0)


def _children() -> list[int]:
    listing = Path(f"/proc/self/task/{os.getpid()}/children")
    return [int(pid) for pid in listing.read_text().split()] if listing.exists() else []


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _kill_descendants(leader: int) -> None:
    """Kill and reap children until none is left: a killed child's own children become ours."""
    _kill_group(leader)
    while True:
        for pid in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def main(parent: int, grace: int, command: list[str]) -> int:
    """Run the command to its end and return its exit code."""
    stop_asked = False
    process: subprocess.Popen[bytes] | None = None

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stop_asked
        stop_asked = True
        if process is not None:
            process.send_signal(signal.SIGTERM)
            signal.alarm(max(grace, 1))

    def kill(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stop_asked
        stop_asked = True
        if process is not None:
            _kill_group(process.pid)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, kill)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # the engine died before the line above
        return 128 + signal.SIGTERM
    try:
        process = subprocess.Popen(
            command,
            start_new_session=True,
            preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
        )
    except OSError as error:
        print(f"error: {command[0]} cannot be started: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    if stop_asked:
        stop(signal.SIGTERM, None)
    code = process.wait()
    signal.alarm(0)
    _kill_descendants(process.pid)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
