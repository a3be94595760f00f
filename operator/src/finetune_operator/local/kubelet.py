"""Runs pods as processes of this machine and reports how they are in the pods' status, as a kubelet does."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from finetune_operator.core.conditions import timestamp
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.local.clock import Clock
from finetune_operator.local.container import LocalContainer
from finetune_operator.local.environments import Environments
from finetune_operator.local.layout import Layout
from finetune_operator.local.mounts import VolumeFolders, mounts_of
from finetune_operator.local.ports import allocate_ports
from finetune_operator.local.probes import ContainerProbes
from finetune_operator.local.process import Process
from finetune_operator.local.store import Store

_MESSAGE_BYTES = 4096
"""As much of a termination message as a kubelet keeps."""


@dataclass(frozen=True, kw_only=True)
class RunningPod:
    """A pod with the process and the probes of the container that runs."""

    ref: Ref
    container: LocalContainer
    process: Process
    probes: ContainerProbes
    started: datetime
    restarts: int
    last_state: Manifest
    then: tuple[LocalContainer, ...] = ()
    """What starts when it has ended well: it is an init container."""


class Kubelet:
    """The pods that run, and nothing of why they run: controllers create and delete them in the store."""

    def __init__(self, store: Store, layout: Layout, environments: Environments, clock: Clock) -> None:
        self._store = store
        self._layout = layout
        self._environments = environments
        self._clock = clock
        self._running: dict[Ref, RunningPod] = {}

    def start(self, pod: Manifest, shared_ports: Mapping[str, int] | None = None) -> None:
        """Start a pod. Must be called on the engine's thread. Raises LocalError when it cannot run here."""
        containers = self._localize(pod, shared_ports or {})
        for container in containers:
            for folder in container.mounts.folders.values():
                folder.mkdir(parents=True, exist_ok=True)
        self._write_config_maps(pod)
        pod = self._store.apply(pod)
        self._report(self._begin(Ref.of(pod), containers, _before(pod)))

    def _begin(
        self, ref: Ref, containers: tuple[LocalContainer, ...], before: tuple[int, Manifest]
    ) -> RunningPod:
        """Start the first of a pod's containers that are left."""
        container, now = containers[0], self._clock.now()
        container.termination_log.unlink(missing_ok=True)
        running = RunningPod(
            ref=ref,
            container=container,
            process=Process(container.command()),
            probes=ContainerProbes(container, now),
            started=now,
            restarts=before[0],
            last_state=before[1],
            then=containers[1:],
        )
        self._running[ref] = running
        return running

    def sync(self) -> None:
        """Look after every pod once: its process, its probes, its status."""
        for running in list(self._running.values()):
            self._write_config_maps(running.container.pod)
            code = running.process.poll()
            if code is None:
                running.probes.poll(self._clock.now())
                if running.probes.failed:
                    running.process.terminate()
            elif code == 0 and running.then:
                running = self._begin(running.ref, running.then, (running.restarts, running.last_state))
            self._report(running)

    def stop(self, ref: Ref) -> None:
        """Ask a pod to stop; it stays in the store, running, until it has ended."""
        if ref in self._running:
            self._running[ref].process.terminate()

    def kill_all(self) -> None:
        """Kill every pod without the grace period, and wait for the end."""
        for running in list(self._running.values()):
            running.process.kill()
            running.process.wait()
            self._report(running)

    @property
    def is_idle(self) -> bool:
        """Whether no pod runs."""
        return not self._running

    def is_running(self, ref: Ref) -> bool:
        """Return whether a pod's process is there."""
        return ref in self._running

    def port_of(self, ref: Ref, name: str) -> int | None:
        """Return the port of this machine that stands for a running pod's port."""
        running = self._running.get(ref)
        return running.container.ports.by_name.get(name) if running else None

    def _localize(self, pod: Manifest, shared_ports: Mapping[str, int]) -> tuple[LocalContainer, ...]:
        """Return a pod's containers in the order in which they start; the last one is the pod's own."""
        (own,) = pod["spec"]["containers"]
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        scratch = self._layout.scratch(namespace, name)
        volumes = VolumeFolders(
            claims=self._layout.storage, config_maps=self._layout.config_maps(namespace), scratch=scratch
        )
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        return tuple(
            LocalContainer(
                pod=pod,
                container=container,
                environment=self._environments.of(container["image"]),
                mounts=mounts_of(pod["spec"], container, volumes),
                ports=allocate_ports(container, shared_ports),
                log=self._layout.log(namespace, name),
                termination_log=scratch / "termination-log",
                scratch=scratch,
                machine_env=os.environ,
            )
            for container in (*pod["spec"].get("initContainers", []), own)
        )

    def _write_config_maps(self, pod: Manifest) -> None:
        """Have the files as the ConfigMaps are now: those of a pod that runs follow."""
        namespace = pod["metadata"]["namespace"]
        names = [v["configMap"]["name"] for v in pod["spec"].get("volumes", []) if "configMap" in v]
        for name in names:
            ref = Ref(api_version="v1", kind="ConfigMap", namespace=namespace, name=name)
            config_map = self._store.get(ref) or {"data": {}}
            folder = self._layout.config_maps(namespace) / name
            folder.mkdir(parents=True, exist_ok=True)
            for key, text in config_map["data"].items():
                if not (file := folder / key).exists() or file.read_text() != text:
                    _write_whole(file, text)

    def _report(self, running: RunningPod) -> None:
        """Write the pod's status; a pod whose process has ended runs no more."""
        code = running.process.poll()
        if code is None:
            self._store.set_status(running.ref, _running_status(running))
            return
        running.probes.stop()
        del self._running[running.ref]
        message = _termination_message(running, code)
        shutil.rmtree(running.container.scratch, ignore_errors=True)
        self._store.set_status(running.ref, _ended_status(running, code, message, self._clock.now()))


def _write_whole(file: Path, text: str) -> None:
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(text)
    os.replace(partial, file)


def _before(pod: Manifest) -> tuple[int, Manifest]:
    """Return how often the pod's container was started again, this time included, and how it ended last."""
    status = pod.get("status", {})
    for container in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
        return container["restartCount"] + 1, container["state"]
    return 0, {}


def _container_status(running: RunningPod, state: Manifest, *, ready: bool) -> Manifest:
    """Return the field of the pod's status that tells of the container."""
    status = {
        "name": running.container.container["name"],
        "ready": ready,
        "restartCount": running.restarts,
        "state": state,
        "lastState": running.last_state,
    }
    return {"initContainerStatuses" if running.then else "containerStatuses": [status]}


def _running_status(running: RunningPod) -> Manifest:
    state = {"running": {"startedAt": timestamp(running.started)}}
    return {
        "phase": "Pending" if running.then else "Running",
        "podIP": "127.0.0.1",
        **_container_status(running, state, ready=running.probes.ready and not running.then),
    }


def _ended_status(running: RunningPod, code: int, message: str, now: datetime) -> Manifest:
    terminated = {
        "exitCode": code,
        "reason": "Error" if code else "Completed",
        "startedAt": timestamp(running.started),
        "finishedAt": timestamp(now),
        "message": message,
    }
    return {
        "phase": "Failed" if code else "Succeeded",
        **_container_status(running, {"terminated": terminated}, ready=False),
    }


def _termination_message(running: RunningPod, code: int) -> str:
    """Return the termination log, or the end of the output (FallbackToLogsOnError)."""
    if running.probes.failed:
        return running.probes.failed
    source: Path = running.container.termination_log
    if code and (not source.exists() or not source.stat().st_size):
        source = running.container.log
    if not source.exists():
        return ""
    return source.read_bytes()[-_MESSAGE_BYTES:].decode(errors="replace")
