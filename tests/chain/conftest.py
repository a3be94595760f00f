"""What several chain tests start from."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from cluster.binaries import cache, lock
from family_chain import FamilyChain, run_chains

ROOT = Path(__file__).parents[2]
BUILDER = ROOT / "examples" / "tiny_base"
# What it is built with, and from: the documentation of this Python.
LOCKED = ROOT / "requirements" / "dev.txt"


@pytest.fixture(scope="session")
def tiny_base() -> Path:
    """The demo's base model, which learns for a minute: built once, into the user's cache."""
    folder = cache() / f"tiny-base-{_fingerprint()}"
    with lock(folder.with_suffix(".lock")):  # another run of the tests may want it too
        subprocess.run([sys.executable, BUILDER / "build.py", folder], check=True)
    return folder


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FamilyChain]:
    """Every shape of the families, through the chain to the gate; vLLM loads them with other models."""
    return run_chains(tmp_path_factory.mktemp("families"))


def _fingerprint() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for file in [*sorted(BUILDER.glob("*.py")), LOCKED]:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
