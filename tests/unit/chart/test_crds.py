"""The chart's copies of the CRDs, and the one place where the template adds to them."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
COPIES = sorted((ROOT / "helm/finetune-operator/files/crds").glob("*.yaml"))


def test_the_copies_are_what_is_generated() -> None:
    script = ROOT / "helm/copy_crds.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("file", [pytest.param(file, id=file.stem) for file in COPIES])
def test_the_keep_policy_has_one_place_to_go_to(file: Path) -> None:
    text = file.read_text()
    assert text.count("\nmetadata:\n") == 1
    assert "annotations" not in yaml.safe_load(text)["metadata"]
