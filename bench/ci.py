"""How long CI takes in a clean clone, and `make demo` before it: with or without caches, idle or busy.

`python bench/ci.py --cold --busy 2`: two other processes compute, and there is no cache of Go, uv or pip.
Figures of the same day are added to one file.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from report import RESULTS, write_report

ROOT = Path(__file__).parents[1]
CACHES = ("XDG_CACHE_HOME", "GOCACHE", "GOMODCACHE", "UV_CACHE_DIR", "PIP_CACHE_DIR")
PART = re.compile(r"^([a-z-]+) +(\d+) s(?: +FAILED.*)?$", re.MULTILINE)


def main() -> int:
    parser = argparse.ArgumentParser(prog="ci", description=__doc__)
    parser.add_argument("--cold", action="store_true", help="with empty caches")
    parser.add_argument("--busy", type=int, default=0, help="processes that compute meanwhile")
    parser.add_argument("--demo", action="store_true", help="`make demo` first, in the same clone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="finetune-ci-") as folder, busy(options.busy):
        figures = measure(Path(folder), cold=options.cold, demo=options.demo)
        subprocess.run(["chmod", "-R", "u+w", folder], check=True)  # Go's modules are read-only
    caches = "cold" if options.cold else "warm"
    load = f"{options.busy} other processes busy" if options.busy else "idle"
    write_report("ci", {**_earlier(), f"{caches}, {load}": figures}, packages=("pytest",))
    return int(figures["exitCode"])


def measure(folder: Path, *, cold: bool, demo: bool) -> dict[str, Any]:
    """Seconds by part."""
    clone = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    caches = {name: str(folder / name.lower()) for name in CACHES} if cold else {}
    environment = os.environ | {"CI": "true"} | caches
    seconds: dict[str, float] = {}
    if demo:
        begin = time.monotonic()
        subprocess.run(["make", "demo"], cwd=clone, env=environment, check=True, stdin=subprocess.DEVNULL)
        seconds["make demo"] = round(time.monotonic() - begin)
    done = subprocess.run(
        ["bash", ".ci/run"],
        cwd=clone,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    print(done.stdout, done.stderr, sep="\n", flush=True)
    seconds |= {name: int(found) for name, found in PART.findall(done.stdout)}
    flaky = re.findall(r"^FLAKY: .*: (.*)$", done.stdout, re.MULTILINE)
    return {"exitCode": done.returncode, "seconds": seconds, "flaky": flaky, "commit": _commit(clone)}


@contextmanager
def busy(processes: int) -> Iterator[None]:
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def _commit(clone: Path) -> str:
    command = ["git", "-C", clone, "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _earlier() -> dict[str, Any]:
    file = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-ci.json"
    figures: dict[str, Any] = json.loads(file.read_text())["figures"] if file.exists() else {}
    return figures


if __name__ == "__main__":
    sys.exit(main())
