"""The chart, rendered by the real helm; no cluster is needed."""

import subprocess
from pathlib import Path
from typing import Any

import yaml
from cluster import binaries
from waiting import HANG_SECONDS

CHART = Path(__file__).parents[3] / "helm/finetune-operator"
RELEASE = "finetune-operator"
NAMESPACE = "finetune-system"

Manifest = dict[str, Any]


def run_helm(command: str, *words: str, settings: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run helm with the chart, and with each of the settings as --set."""
    sets = [word for setting in settings for word in ("--set", setting)]
    program = [binaries.find("helm"), command, *words, str(CHART), "--namespace", NAMESPACE, *sets]
    return subprocess.run(program, capture_output=True, text=True, check=False, timeout=HANG_SECONDS)


def render(*settings: str, release: str = RELEASE) -> list[Manifest]:
    """Return the objects that the chart makes."""
    done = run_helm("template", release, settings=settings)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(objects: list[Manifest], kind: str) -> list[Manifest]:
    """Return the objects of a kind."""
    return [each for each in objects if each["kind"] == kind]


def one(objects: list[Manifest], kind: str) -> Manifest:
    """Return the only object of a kind."""
    (found,) = of_kind(objects, kind)
    return found


def config(objects: list[Manifest]) -> Manifest:
    """What the operator is told."""
    (text,) = (each["data"]["config.yaml"] for each in objects if "config.yaml" in each.get("data", {}))
    loaded = yaml.safe_load(text)
    assert isinstance(loaded, dict)
    return loaded
