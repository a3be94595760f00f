"""The one pod that kwok cannot play: the operator's. Its program runs here as its pod has it on a cluster.

Of several replicas the first: kwok plays the others, which stand by for ever.

With the chart's configuration file (its ports alone are free ones of this machine) and a token of its service
account; started when the pod runs, started again when it ends, ended with the pod.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml
from cluster.closing_client import closing_client
from cluster.controlplane import ControlPlane, free_ports
from cluster.credentials import Credentials
from cluster.process import Process
from kubernetes import client

_SELECTOR = "app.kubernetes.io/part-of=finetune-operator,app.kubernetes.io/component=operator"
_PERIOD_SECONDS = 0.1
_TOKEN_SECONDS = 7200


@dataclass(kw_only=True)
class OperatorPod:
    """`program`: the finetune-operator command; its files and its log go to `folder`."""

    folder: Path
    credentials: Credentials
    server: str
    program: Path
    process: Process | None = field(default=None, init=False)
    starts: int = field(default=0, init=False)
    metrics_port: int = field(default=0, init=False)
    _uid: str = field(default="", init=False)
    _stop: threading.Event = field(default_factory=threading.Event, init=False)
    _paused: bool = field(default=False, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    @classmethod
    def of(cls, plane: ControlPlane) -> Self:
        """The pod of a chart that is installed there, with the program of this environment."""
        return cls(
            folder=plane.folder,
            credentials=plane.credentials,
            server=plane.server,
            program=Path(sys.executable).parent / "finetune-operator",
        )

    def run(self) -> None:
        """Follow the pod until told to stop."""
        with closing_client(self.credentials.kubeconfig("admin")) as api:
            self._follow_for_ever(client.CoreV1Api(api))

    def _follow_for_ever(self, core: client.CoreV1Api) -> None:
        while not self._stop.is_set():
            try:
                with self._lock:
                    if not self._paused:
                        self._follow(core)
            except (client.ApiException, OSError, IndexError):
                pass  # the API server is away, as a test may want it
            except Exception as error:
                if "Max retries" not in str(error):
                    raise
            time.sleep(_PERIOD_SECONDS)

    def start(self) -> None:
        self._thread = threading.Thread(target=self.run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()
        self._end()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The program ends, and is not started until the block does."""
        with self._lock:
            self._paused = True
            self._end()
        try:
            yield
        finally:
            with self._lock:
                self._paused = False

    def _follow(self, core: client.CoreV1Api) -> None:
        pods = core.list_pod_for_all_namespaces(label_selector=_SELECTOR).items
        pod = next(
            (p for p in pods if p.status.phase == "Running" and not p.metadata.deletion_timestamp), None
        )
        if pod is None or pod.metadata.uid != self._uid:
            self._end()
        if pod is None:
            return
        running = self.process and self.process.running and self.process.running.poll() is None
        if not running:
            self._uid = pod.metadata.uid
            self._start(core, pod)

    def _start(self, core: client.CoreV1Api, pod: Any) -> None:
        command = [str(self.program), "--config", str(self._config(core, pod))]
        kubeconfig = self._kubeconfig(core, pod)
        env = {"KUBECONFIG": str(kubeconfig), "POD_UID": self._uid}
        self.process = Process(name="operator", command=command, folder=self.folder, env=env)
        self.process.start()
        self.starts += 1

    def _config(self, core: client.CoreV1Api, pod: Any) -> Path:
        (name,) = (v.config_map.name for v in pod.spec.volumes if v.config_map and v.name == "config")
        data = core.read_namespaced_config_map(name, pod.metadata.namespace).data
        config = yaml.safe_load(data["config.yaml"])
        health, self.metrics_port = free_ports(2)
        config["ports"] = {"health": health, "metrics": self.metrics_port}
        file = self.folder / "operator.yaml"
        file.write_text(yaml.safe_dump(config))
        return file

    def _kubeconfig(self, core: client.CoreV1Api, pod: Any) -> Path:
        request = {"spec": {"audiences": [], "expirationSeconds": _TOKEN_SECONDS}}
        account, namespace = pod.spec.service_account_name, pod.metadata.namespace
        token = core.create_namespaced_service_account_token(account, namespace, request).status.token
        return self.credentials.write_kubeconfig_for("operator", self.server, token)

    def _end(self) -> None:
        if self.process:
            self.process.stop()
        self.process = None
