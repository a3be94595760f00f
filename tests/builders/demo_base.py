"""The demo's base model, which learns for a minute: built once, into the user's cache."""

import hashlib
import subprocess
import sys
from pathlib import Path

from cluster.binaries import cache, lock

ROOT = Path(__file__).parents[2]
BUILDER = ROOT / "examples" / "tiny_base"
# What it is built with, and from: the documentation of this Python.
LOCKED = ROOT / "requirements" / "dev.txt"


def built_tiny_base() -> Path:
    folder = cache() / f"tiny-base-{_fingerprint()}"
    with lock(folder.with_suffix(".lock")):  # another run of the tests may want it too
        subprocess.run([sys.executable, BUILDER / "build.py", folder], check=True)
    return folder


def _fingerprint() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for file in [*sorted(BUILDER.glob("*.py")), LOCKED]:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
