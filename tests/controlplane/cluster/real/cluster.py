"""The control plane, one node that really runs pods, a registry of images and volumes."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from cluster import binaries, nodes
from cluster.controlplane import ControlPlane
from cluster.process import Process, answers
from cluster.real import volumes
from cluster.real.node import HOST, PUSH_REGISTRY, REGISTRY, Node
from waiting import until


@dataclass(kw_only=True)
class RealCluster:
    folder: Path
    follows_parent: bool = True
    others: dict[str, Process] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.plane = ControlPlane(
            folder=self.folder, follows_parent=self.follows_parent, address=HOST, plays_nodes=False
        )
        self.node = Node(folder=self.folder / "node", follows_parent=self.follows_parent)

    @property
    def processes(self) -> dict[str, Process]:
        return self.plane.processes | self.others | self.node.processes

    @property
    def volumes(self) -> Path:
        """A folder a namespace, and in it one a claim."""
        return self.folder / "volumes"

    def start(self) -> None:
        self.node.connect()
        self._start_registry("registry", {"addr": REGISTRY})
        self.others["registry"].wait_until(lambda: answers(f"http://{REGISTRY}/v2/"))
        self.plane.start()
        # Its certificate names this address too, and each namespace has it in the ConfigMap kube-root-ca.crt.
        certificate = self.plane.credentials.server_certificate
        tls = {"certificate": str(certificate), "key": str(certificate.with_suffix(".key"))}
        self._start_registry("push-registry", {"addr": PUSH_REGISTRY, "tls": tls})
        self.node.start(self.plane.kubeconfig, certificate)
        with self.plane.api_client() as api:
            volumes.create_class(api)
            self._start_volumes()
            until("a ready node", lambda: nodes.are_ready(api))
        self.node.enforce_policies(self.plane.kubeconfig)

    def stop(self) -> None:
        self.plane.stop()
        for process in self.others.values():
            process.kill()
        self.node.stop()

    def _start_registry(self, name: str, http: dict[str, Any]) -> None:
        """What was pushed stays in the user's cache, as what was built does."""
        configuration = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(binaries.cache() / "registry")}},
            "http": http,
        }
        file = self.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(configuration))
        self._start(name, ["docker-registry", "serve", str(file)])

    def _start_volumes(self) -> None:
        program = Path(__file__).parent.parent
        command = ["volumes", str(self.plane.kubeconfig), str(self.volumes)]
        self._start("volumes", [sys.executable, str(program), *command])

    def _start(self, name: str, command: list[str]) -> None:
        self.others[name] = Process(
            name=name, command=command, folder=self.folder, follows_parent=self.follows_parent
        )
        self.others[name].start()
