"""Operators that start within milliseconds: a process that has imported everything forks them.

`python forked_operator.py CONFIG` forks one for every line that it reads, its pod's uid, and prints its pid.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(kw_only=True)
class ForkedOperators:
    config: Path
    kubeconfig: Path
    log: Path
    _parent: "subprocess.Popen[str] | None" = field(default=None, init=False)
    _pid: int = field(default=0, init=False)

    def __enter__(self) -> "ForkedOperators":
        with self.log.open("ab") as log:
            self._parent = subprocess.Popen(
                [sys.executable, __file__, str(self.config)],
                env=os.environ | {"KUBECONFIG": str(self.kubeconfig)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._parent
        self.kill()
        self._parent.kill()
        self._parent.wait()
        for stream in (self._parent.stdin, self._parent.stdout):
            if stream:
                stream.close()

    def kill(self) -> None:
        """Kill the one that was started last."""
        if self._pid:
            self.send(signal.SIGKILL)
        self._pid = 0

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the one that was started last, unless it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, number)

    @property
    def runs(self) -> bool:
        """Whether the one that was started last is there."""
        return self._pid > 0 and Path(f"/proc/{self._pid}").exists()

    def start(self, pod_uid: str = "forked") -> None:
        """Start one, as the container of a pod; with the same uid it is the one before, started again."""
        assert self._parent
        assert self._parent.stdin
        assert self._parent.stdout
        self._parent.stdin.write(f"{pod_uid}\n")
        self._parent.stdin.flush()
        self._pid = int(self._parent.stdout.readline())


def serve(config: str) -> None:
    from finetune_operator.app import main

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that are killed
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os.environ["POD_UID"] = line.strip()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            main(["--config", config])
            os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
