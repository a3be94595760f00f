"""The oldest Kubernetes that is supported: its API server and its controllers, on the etcd of the newest.

No scheduler of it runs, and no node: a test says itself how pods end.
"""

from dataclasses import dataclass
from pathlib import Path

from cluster import binaries
from cluster.controlplane import ControlPlane

FOLDER = binaries.TOOLS / "oldest"
PROGRAMS = {name: f"k8s.io/kubernetes/cmd/{name}" for name in ("kube-apiserver", "kube-controller-manager")}


def version() -> str:
    """Such as v1.31.14."""
    return binaries.module_version("k8s.io/kubernetes", FOLDER)


def build() -> Path:
    """Builds its programs once; returns the folder."""
    return binaries.build_once(*_recipe())


def find(name: str) -> Path:
    return binaries.built(binaries.target_of(*_recipe()) / name, "make programs")


def _recipe() -> tuple[str, Path, dict[str, str], str]:
    return f"oldest-{version()}", FOLDER, PROGRAMS, binaries.version_stamps(FOLDER)


@dataclass(kw_only=True)
class OldestControlPlane(ControlPlane):
    """Its API server and controllers: Jobs and Deployments have pods, which are on no node."""

    plays_nodes: bool = False

    def _commands(self) -> list[list[str]]:
        return [self._etcd(), self._apiserver(), self._controller_manager()]

    def _program(self, name: str) -> str:
        return str(find(name)) if name in PROGRAMS else super()._program(name)
