"""What several chain tests start from."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def tiny_base() -> Path:
    """The demo's base model, kept in build/ from one test run to the next."""
    folder = ROOT / "build" / "tiny-base"
    subprocess.run([sys.executable, ROOT / "examples" / "tiny_base" / "build.py", folder], check=True)
    return folder
