"""Operators that start within milliseconds: a process that has imported everything forks them.

`python forked_operator.py CONFIG` forks one for every line that it reads and prints its pid.
"""

import os
import signal
import subprocess
import sys
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
            os.kill(self._pid, signal.SIGKILL)
        self._pid = 0

    def start(self) -> None:
        """Start one."""
        assert self._parent
        assert self._parent.stdin
        assert self._parent.stdout
        self._parent.stdin.write("start\n")
        self._parent.stdin.flush()
        self._pid = int(self._parent.stdout.readline())


def serve(config: str) -> None:
    from finetune_operator.app import main

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that are killed
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            main(["--config", config])
            os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
