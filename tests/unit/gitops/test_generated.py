"""The patch of argocd-cm, and the Applications."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from argocd import HEALTH, health

ROOT = Path(__file__).parents[3]
GITOPS = ROOT / "gitops"
APPLICATIONS = [
    pytest.param(file, id=file.stem) for file in sorted(GITOPS.glob("**/*.yaml")) if "patch" not in file.name
]


def test_the_patch_is_what_the_scripts_say() -> None:
    done = subprocess.run(
        [sys.executable, GITOPS / "generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_patch_has_each_script_unchanged() -> None:
    patch = yaml.safe_load((GITOPS / "argocd-cm.patch.yaml").read_text())
    assert patch == {
        "data": {
            f"resource.customizations.health.{script.stem}": script.read_text()
            for script in HEALTH.glob("*.lua")
        }
    }


def test_scripts_reach_no_string_library() -> None:
    """What our tests would miss if their Lua offered more than Argo CD's."""
    job = {"apiVersion": "finetune.dev/v1alpha1", "kind": "FineTuneJob"}
    script = (
        'return { status = tostring(string), message = tostring(pcall(function() return ("a"):upper() end)) }'
    )
    assert health(job, script) == ("nil", "false")


@pytest.mark.parametrize("file", APPLICATIONS)
def test_an_application_names_what_is_there(file: Path) -> None:
    source = load(file)["spec"]["source"]
    folder = ROOT / source["path"]
    assert folder.is_dir()
    included = source.get("directory", {}).get("include", "").strip("{}")
    assert all((folder / name).is_file() for name in included.split(",") if name)


def test_the_operator_comes_before_the_jobs() -> None:
    waves = {
        file.stem: int(load(file)["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])
        for file in (GITOPS / "apps").glob("*.yaml")
    }
    assert waves["operator"] < waves["jobs"]


def load(file: Path) -> dict[str, Any]:
    application = yaml.safe_load(file.read_text())
    assert isinstance(application, dict)
    return application
