"""kubectl and helm against the control plane."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from waiting import HANG_SECONDS

WAIT = f"--timeout={HANG_SECONDS:.0f}s"
"""For kubectl and helm, which otherwise wait for as long as they think right."""

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


def runner(program: Path, kubeconfig: Path) -> Run:
    """A function that runs `program`; unless check=False, a failure fails the test with what it printed."""

    def run(
        *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [program, *arguments],
            input=stdin,
            env=os.environ | {"KUBECONFIG": str(kubeconfig)},
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG_SECONDS,
        )
        assert not check or done.returncode == 0, f"{program.name} {' '.join(arguments)}\n{done.stderr}"
        return done

    return run
