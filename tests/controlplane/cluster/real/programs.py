"""What a real node runs. Kubernetes' own parts are built as the control plane's are; the rest is Debian's."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cluster import binaries

DEBIAN = {
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "ipset": "ipset",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "docker-registry": "docker-registry",
    "gcc": "gcc",
    "/bin/busybox": "busybox-static",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
}
"""Program -> the package that has it; the last two make images for it."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Programs of one module of tools/, and their packages; `module` names their version."""

    label: str
    module: str
    packages: dict[str, str]
    flags: str = "-s -w"

    @property
    def folder(self) -> Path:
        return binaries.TOOLS / self.label

    @property
    def build(self) -> tuple[str, Path, dict[str, str], str]:
        version = binaries.module_version(self.module, self.folder)
        return f"{self.label}-{version}", self.folder, self.packages, self.flags


_KUBERNETES = Recipe(
    label="node",
    module="k8s.io/kubernetes",
    packages={name: f"k8s.io/kubernetes/cmd/{name}" for name in ("kubelet", "kube-proxy")},
    flags=binaries.version_stamps(),
)
_RECIPES = [
    _KUBERNETES,
    Recipe(
        label="coredns",
        module="github.com/coredns/coredns",
        packages={"coredns": "finetune.dev/tests/controlplane/tools/coredns"},
    ),
    Recipe(
        label="containerd",
        module="github.com/containerd/containerd/v2",
        packages={
            name: f"github.com/containerd/containerd/v2/cmd/{name}"
            for name in ("containerd", "containerd-shim-runc-v2", "ctr")
        },
    ),
    Recipe(
        label="network-policies",
        module="github.com/cloudnativelabs/kube-router/v2",
        packages={"kube-router": "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"},
    ),
]


def build() -> list[Path]:
    """Builds each once; returns the folders."""
    return [binaries.build_once(*recipe.build) for recipe in _RECIPES]


def find(name: str) -> Path:
    recipe = next(each for each in _RECIPES if name in each.packages)
    return binaries.built(binaries.target_of(*recipe.build) / name, "make node-programs")


def complain() -> None:
    """Ends with one line when a real node cannot run here."""
    _need_root()
    if missing := _missing():
        raise SystemExit(f"error: a real node needs {', '.join(missing)}. Run `make node-packages` as root.")


def install() -> None:
    """What is not here of Debian's packages; no archive is asked when nothing is missing."""
    if not (missing := _missing()):
        return
    _need_root()
    if not shutil.which("apt-get"):
        raise SystemExit(f"error: a real node needs Debian's {', '.join(missing)}, and there is no apt-get.")
    print(f"installing {' '.join(missing)}", flush=True)
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
        subprocess.run(["apt-get", "--quiet=2", *command], env=quiet, stdin=subprocess.DEVNULL, check=True)


def _need_root() -> None:
    if os.geteuid() != 0:
        raise SystemExit("error: a real node needs root. Run it as root, or leave out NODE=real.")


def _missing() -> list[str]:
    return sorted({package for program, package in DEBIAN.items() if not shutil.which(program)})


def pause_source() -> Path:
    """Kubernetes' own pause.c, from the module that is built here."""
    return binaries.module_folder(_KUBERNETES.module, _KUBERNETES.folder) / "build/pause/linux/pause.c"


def busybox() -> bytes:
    return Path("/bin/busybox").read_bytes()
