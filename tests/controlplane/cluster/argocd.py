"""What Argo CD's application controller does with one Application, by its own engine (tools/gitops)."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import binaries

FOLDER = binaries.TOOLS / "gitops"
MODULE = "github.com/argoproj/argo-cd/gitops-engine/v3"


def _recipe() -> tuple[str, Path, dict[str, str], str]:
    version = binaries.module_version(MODULE, FOLDER)
    return f"gitops-{version}", FOLDER, {"gitops": "finetune.dev/tests/controlplane/tools/gitops"}, "-s -w"


def build() -> Path:
    return binaries.build_once(*_recipe()) / "gitops"


@dataclass(frozen=True, kw_only=True)
class Synced:
    """What one sync told. Objects are KIND/NAME."""

    different: list[str]
    """Before it, as Argo CD compares by default."""
    done: dict[str, str]
    health: dict[str, str]
    """After it; an object that has no health has none here."""


def sync(name: str, namespace: str, manifests: Path, health: Path, kubeconfig: Path) -> Synced:
    """With prune and ServerSideApply=true."""
    program = binaries.built(binaries.target_of(*_recipe()) / "gitops", "make argocd")
    done = subprocess.run(
        [program, name, namespace, manifests, health],
        env=os.environ | {"KUBECONFIG": str(kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Synced(
        different=sorted(told["different"]),
        done=told["synced"],
        health={name: each["status"] for name, each in told["health"].items() if each},
    )
