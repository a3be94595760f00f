"""A controller of others, built from its Go module and run here as its manifests configure it.

Three things differ: its webhooks are reached on this machine, with a certificate of ours; it elects no
leader; and it may do everything, whatever its roles say.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from cluster import binaries
from cluster.commands import Run
from cluster.controlplane import ControlPlane, free_ports
from cluster.process import Process, answers
from cluster.webhook_certificate import write_certificate
from kubernetes import client
from waiting import until


@dataclass(frozen=True, kw_only=True)
class AddOn:
    """Its Go module, pinned by a go.mod of its own in `folder`, and where things are in its source."""

    name: str
    folder: Path
    module: str
    package: str
    namespace: str
    crds: str
    configuration: str
    webhooks: str
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of its configuration that are otherwise here."""
    says_where_certificates_are: bool = False
    """In its configuration. Others look where controller-runtime does when it is told of no folder."""

    @property
    def version(self) -> str:
        return binaries.module_version(self.module, self.folder)

    @property
    def user(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    def build(self) -> Path:
        return binaries.build_once(*self._recipe) / self.name

    @property
    def program(self) -> Path:
        return binaries.built(binaries.target_of(*self._recipe) / self.name, f"AddOn.build of {self.name}")

    @property
    def _recipe(self) -> tuple[str, Path, dict[str, str], str]:
        return f"{self.name}-{self.version}", self.folder, {self.name: self.package}, "-s -w"

    def source(self) -> Path:
        return binaries.module_folder(self.module, self.folder)

    def start(self, plane: ControlPlane, kubectl: Run) -> Process:
        """The controller, ready, with its CRDs and webhooks; its namespace must be there."""
        source = self.source()
        apply_crds(kubectl, *(source / self.crds).glob("*_*.yaml"))
        folder = plane.folder / self.name
        authority = write_certificate(_certificates(folder))
        webhook_port, health_port = free_ports(2)
        config = self._configure(source, folder, webhook_port, health_port)
        process = Process(
            name=self.name,
            command=[str(self.program), f"--config={config}", "--zap-log-level=2"],
            folder=plane.folder,
            env={"KUBECONFIG": str(self._kubeconfig(plane, kubectl)), "TMPDIR": str(folder)},
        )
        process.start()
        process.wait_until(lambda: answers(f"http://127.0.0.1:{health_port}/readyz"))
        url = f"https://127.0.0.1:{webhook_port}"
        for configured in _webhooks(kubectl, source / self.webhooks, self.name, url, authority):
            kubectl("apply", "--filename=-", stdin=json.dumps(configured))
        return process

    def _configure(self, source: Path, folder: Path, webhook_port: int, health_port: int) -> Path:
        where = {"certDir": str(_certificates(folder))} if self.says_where_certificates_are else {}
        config = yaml.safe_load((source / self.configuration).read_text()) | {
            "webhook": {"port": webhook_port, "host": "127.0.0.1"} | where,
            "health": {"healthProbeBindAddress": f"127.0.0.1:{health_port}"},
            "metrics": {"bindAddress": "0"},
            "leaderElection": {"leaderElect": False},
        }
        file = folder / "config.yaml"
        file.write_text(yaml.safe_dump(config | self.changes))
        return file

    def _kubeconfig(self, plane: ControlPlane, kubectl: Run) -> Path:
        kubectl("create", "serviceaccount", self.name, f"--namespace={self.namespace}")
        binding = ("--clusterrole=cluster-admin", f"--serviceaccount={self.namespace}:{self.name}")
        kubectl("create", "clusterrolebinding", self.name, *binding)
        request = {"spec": {"audiences": [], "expirationSeconds": 7200}}
        with plane.api_client() as api:
            core = client.CoreV1Api(api)
            made = core.create_namespaced_service_account_token(self.name, self.namespace, request)
        return plane.credentials.write_kubeconfig_for(self.name, plane.server, made.status.token)


def _certificates(folder: Path) -> Path:
    return folder / "k8s-webhook-server/serving-certs"


def apply_crds(kubectl: Run, *files: Path) -> None:
    """Have the kinds of these files served."""
    crds = [f"--filename={file}" for file in files]
    kubectl("apply", "--server-side", *crds)
    established = ("wait", "--for=condition=Established", *crds)
    # For a moment kubectl finds no list of conditions, and gives up.
    until("CRDs", lambda: kubectl(*established, check=False).returncode == 0)


def _webhooks(kubectl: Run, folder: Path, name: str, url: str, authority: str) -> list[dict[str, Any]]:
    rendered = yaml.safe_load_all(kubectl("kustomize", str(folder)).stdout)
    configured = [each for each in rendered if each["kind"].endswith("WebhookConfiguration")]
    for each in configured:
        each["metadata"]["name"] = name
        for webhook in each["webhooks"]:
            path = webhook["clientConfig"]["service"]["path"]
            webhook["clientConfig"] = {"url": f"{url}{path}", "caBundle": authority}
    return configured
