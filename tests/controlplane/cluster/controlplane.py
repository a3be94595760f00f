"""etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok on free ports of this machine."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cluster import binaries, nodes, stages
from cluster.closing_client import closing_client
from cluster.credentials import Credentials
from cluster.process import Process, answers
from kubernetes import client
from waiting import until

SERVICE_RANGE = "10.96.0.0/16"
POD_RANGE = "10.244.0.0/16"


@dataclass(kw_only=True)
class ControlPlane:
    """`folder` holds etcd's data, keys, kubeconfigs and a log for each program."""

    folder: Path
    gpu_nodes: int = 4
    follows_parent: bool = True
    address: str = "127.0.0.1"
    """Where the API server listens; pods that really run reach it there."""
    plays_nodes: bool = True
    """kwok's nodes and pods; else there are none until a kubelet registers one."""
    processes: dict[str, Process] = field(default_factory=dict, init=False)
    ports: dict[str, int] = field(default_factory=dict, init=False)

    @property
    def credentials(self) -> Credentials:
        return Credentials(folder=self.folder / "credentials")

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.credentials.kubeconfig("admin")

    @property
    def server(self) -> str:
        return f"https://{self.address}:{self.ports['kube-apiserver']}"

    @contextmanager
    def api_client(self, user: str = "admin") -> Iterator[client.ApiClient]:
        with closing_client(self.credentials.kubeconfig(user)) as api:
            yield api

    def start(self) -> None:
        self.credentials.write()
        names = ("etcd", "etcd-peer", "kube-apiserver")
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.credentials.write_kubeconfigs(self.server)
        for command in self._commands():
            name = Path(command[0]).name
            self.processes[name] = Process(
                name=name, command=command, folder=self.folder, follows_parent=self.follows_parent
            )
        for name in self.processes:
            if name != "kwok":  # it starts when there are nodes
                self.start_process(name)
        if self.plays_nodes:
            self._play_nodes()

    def _commands(self) -> list[list[str]]:
        """Each program with its arguments, in the order of their starts."""
        played = [self._kwok()] if self.plays_nodes else []
        return [self._etcd(), self._apiserver(), self._controller_manager(), self._scheduler(), *played]

    def _program(self, name: str) -> str:
        return str(binaries.find(name))

    def _play_nodes(self) -> None:
        with self.api_client() as api:
            stages.install(api)
            nodes.create(api, gpu_nodes=self.gpu_nodes)
            self.start_process("kwok")
            # kwok 0.8.0 caches the Stages by the version of its list. Asked before the list has one, it takes
            # them for none, and starts no controller until a Stage changes (pkg/config/resources/cache.go).
            until("ready nodes", lambda: nodes.are_ready(api) or stages.touch(api))

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            # A controller told to stop waits for its workers; nothing of it is kept, so kill it.
            process.stop() if process.name in ("etcd", "kube-apiserver") else process.kill()

    def start_process(self, name: str) -> None:
        process = self.processes[name]
        process.start()
        if name == "etcd":
            process.wait_until(lambda: answers(f"http://127.0.0.1:{self.ports['etcd']}/health"))
        if name == "kube-apiserver":
            process.wait_until(self._serving)

    def restart(self, name: str) -> None:
        """Ends a program in order and starts it with the same flags, ports and data."""
        self.processes[name].stop()
        self.start_process(name)

    def _serving(self) -> bool:
        certificate = self.credentials.server_certificate
        return certificate.exists() and answers(f"{self.server}/readyz", certificate)

    def _etcd(self) -> list[str]:
        here = f"http://127.0.0.1:{self.ports['etcd']}"
        peer = f"http://127.0.0.1:{self.ports['etcd-peer']}"
        return [
            self._program("etcd"),
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={here}",
            f"--advertise-client-urls={here}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # data that dies with the machine
            "--log-level=warn",
        ]

    def _apiserver(self) -> list[str]:
        key = self.credentials.service_account_key
        return [
            self._program("kube-apiserver"),
            f"--etcd-servers=http://127.0.0.1:{self.ports['etcd']}",
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            f"--secure-port={self.ports['kube-apiserver']}",
            f"--cert-dir={self.credentials.folder}",
            f"--token-auth-file={self.credentials.tokens}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            f"--endpoint-reconciler-type={'none' if self.plays_nodes else 'lease'}",
            "--kubelet-preferred-address-types=InternalIP",  # no name server knows a node's name
            "--profiling=false",
        ]

    def _controller_manager(self) -> list[str]:
        return [
            self._program("kube-controller-manager"),
            f"--kubeconfig={self.credentials.kubeconfig('kube-controller-manager')}",
            f"--service-account-private-key-file={self.credentials.service_account_key}",
            f"--root-ca-file={self.credentials.server_certificate}",
            "--leader-elect=false",
            "--secure-port=0",
            # The default, 20 requests a second, would be what a benchmark of the operator measures.
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        ]

    def _scheduler(self) -> list[str]:
        return [
            self._program("kube-scheduler"),
            f"--kubeconfig={self.credentials.kubeconfig('kube-scheduler')}",
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        ]

    def _kwok(self) -> list[str]:
        return [
            self._program("kwok"),
            f"--kubeconfig={self.credentials.kubeconfig('kwok')}",
            "--manage-all-nodes",
            "--enable-crds=Stage",
            f"--cidr={POD_RANGE}",
            "--node-ip=10.0.0.1",
            "--node-lease-duration-seconds=40",
        ]


@contextmanager
def running(folder: Path, *, gpu_nodes: int = 4) -> Iterator[ControlPlane]:
    plane = ControlPlane(folder=folder, gpu_nodes=gpu_nodes)
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()


def free_ports(count: int) -> list[int]:
    """Held together until all are known, so that they differ."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
