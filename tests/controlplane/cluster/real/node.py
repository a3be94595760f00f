"""A node that really runs pods: containerd, a kubelet, kube-proxy and CoreDNS in namespaces of its own."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cluster.controlplane import POD_RANGE, SERVICE_RANGE
from cluster.process import Process
from cluster.real import configuration, programs
from cluster.real.image import archive_of, compiled_pause
from cluster.real.namespaces import Namespaces
from waiting import until

NAME = "finetune-node"
HOST, ADDRESS = "10.245.0.1", "10.245.0.2"
REGISTRY = f"{HOST}:5000"
PUSH_REGISTRY = f"{HOST}:5443"
"""The same with TLS, as pods push to it, who trust `kube-root-ca.crt`."""
BUSYBOX = "localhost/busybox:1"
"""An image that is there: `command: [busybox, sh, -c, ...]`, for what a pod sees."""
CGROUPS = Path("/sys/fs/cgroup")
PROGRAMS = "programs"
CPU_OF_THE_NODE = {"cpu.shares": 8192, "cpu.weight": 800}
"""Of cgroup v1 and v2: that of eight busy processes. By default all pods together get that of one, and starve
beside others' work: a server is then not ready within its startup allowance."""
_IN_A_GROUP = """
for file in /sys/fs/cgroup/*/"$1"/cpu.shares /sys/fs/cgroup/*/"$1"/cpu.weight; do
  ! [ -e "$file" ] || echo 0 > "${file%/*}/cgroup.procs"
done
shift
exec "$@"
"""
"""The node's own programs share its CPU with its pods. Outside, these would leave a kubelet none of a busy
machine: it renews no Lease, and its node does not answer."""


@dataclass(kw_only=True)
class Node:
    """`folder` holds its images, volumes, logs and configuration."""

    folder: Path
    follows_parent: bool = True
    processes: dict[str, Process] = field(default_factory=dict, init=False)
    namespaces: Namespaces = field(init=False)

    def connect(self) -> None:
        """Before the control plane starts, which listens at the machine's end of the cable."""
        self.folder.mkdir(parents=True)
        self.namespaces = Namespaces(
            name=NAME,
            folder=self.folder,
            address=ADDRESS,
            host=HOST,
            follows_parent=self.follows_parent,
            ranges=(SERVICE_RANGE, POD_RANGE),
        )
        self.namespaces.start()
        self.processes["node"] = self.namespaces.first

    def start(self, kubeconfig: Path, certificate: Path) -> None:
        """Once the API server serves; `certificate`: of the registry with TLS."""
        _make_cgroups()
        self._write_configuration(kubeconfig, certificate)
        containerd = [str(programs.find("containerd")), f"--config={self.folder / 'containerd.toml'}"]
        self._start("containerd", containerd)
        self.processes["containerd"].wait_until(self._containerd_serves)
        self.load(archive_of(compiled_pause(programs.pause_source()), configuration.PAUSE, "/pause"))
        self.load(archive_of(programs.busybox(), BUSYBOX, "/bin/busybox"))
        self._start("coredns", [str(programs.find("coredns")), "-conf", str(self.folder / "Corefile")])
        self._start(
            "kube-proxy", [str(programs.find("kube-proxy")), f"--config={self.folder / 'kube-proxy.json'}"]
        )
        self._start("kubelet", self._kubelet(kubeconfig))

    def enforce_policies(self, kubeconfig: Path) -> None:
        """NetworkPolicies; once the node is registered."""
        parts = {"router": False, "service-proxy": False, "firewall": True}
        runs = [f"--run-{part}={str(on).lower()}" for part, on in parts.items()]
        ranges = [f"--kubeconfig={kubeconfig}", f"--service-cluster-ip-range={SERVICE_RANGE}"]
        self._start("kube-router", [str(programs.find("kube-router")), *runs, *ranges])

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.kill()
        clear()

    def load(self, archive: bytes) -> None:
        """An image in docker's format."""
        self.ctr("images", "import", "-", stdin=archive)

    def ctr(self, *command: str, stdin: bytes | None = None) -> str:
        """containerd's own client, for what the kubelet has there."""
        return self.namespaces.run(str(programs.find("ctr")), "--namespace=k8s.io", *command, stdin=stdin)

    def restart(self, name: str) -> None:
        self.processes[name].stop()
        self.processes[name].start()

    def _start(self, name: str, command: list[str]) -> None:
        joined = ["sh", "-c", _IN_A_GROUP, name, f"{configuration.CGROUP}/{PROGRAMS}", *command]
        self.processes[name] = self.namespaces.process(name, joined)
        self.processes[name].start()

    def _containerd_serves(self) -> bool:
        with suppress(RuntimeError):
            self.ctr("version")
            return True
        return False

    def _kubelet(self, kubeconfig: Path) -> list[str]:
        return [
            str(programs.find("kubelet")),
            f"--config={self.folder / 'kubelet.json'}",
            f"--kubeconfig={kubeconfig}",
            f"--root-dir={self.folder / 'kubelet'}",
            f"--cert-dir={self.folder / 'kubelet/pki'}",
            f"--hostname-override={NAME}",
            f"--node-ip={ADDRESS}",
        ]

    def _write_configuration(self, kubeconfig: Path, certificate: Path) -> None:
        shim = programs.find("containerd-shim-runc-v2")
        texts = {
            "containerd.toml": configuration.containerd(self.folder, shim),
            f"registries/{REGISTRY}/hosts.toml": configuration.registry(REGISTRY),
            f"registries/{PUSH_REGISTRY}/hosts.toml": configuration.registry(PUSH_REGISTRY, certificate),
            "Corefile": configuration.corefile(kubeconfig, ADDRESS),
            "resolv.conf": "",
        }
        objects = {
            "kubelet.json": configuration.kubelet(self.folder, ADDRESS),
            "kube-proxy.json": configuration.kube_proxy(kubeconfig, NAME),
            "cni/10-pods.conflist": configuration.network(),
        }
        texts |= {name: json.dumps(content, indent=1) for name, content in objects.items()}
        for name, text in texts.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)


def complain_of_another() -> None:
    """Ends with one line when a node runs here already: its addresses are the only ones."""
    if _cable().exists():
        raise SystemExit(
            "error: another real node runs on this machine. `make cluster-down` ends that of `make cluster`."
        )


def clear() -> None:
    """Removes what no namespace takes along: the groups of its processes, once these are gone."""
    until("the node's control groups removed", lambda: not any(map(_is_left, _cgroups())), timeout=60)
    # The kernel ends a network a moment after its last process.
    until("the node's cable gone", lambda: not _cable().exists(), timeout=60)


def _cable() -> Path:
    return Path("/sys/class/net", f"{NAME[:8]}-cable")


def _is_left(group: Path) -> bool:
    folders = [group, *group.rglob("*/")] if group.exists() else []
    for folder in reversed(folders):
        with suppress(OSError):  # its last process is still ending
            folder.rmdir()
    return group.exists()


def _make_cgroups() -> None:
    for group in _cgroups():
        (group / PROGRAMS).mkdir(parents=True, exist_ok=True)
        for name, amount in CPU_OF_THE_NODE.items():
            if (file := group / name).exists():
                file.write_text(str(amount))


def _cgroups() -> list[Path]:
    """One a controller."""
    mounted = [folder for folder in CGROUPS.iterdir() if folder.is_dir() and not folder.is_symlink()]
    return [folder / configuration.CGROUP for folder in mounted]
