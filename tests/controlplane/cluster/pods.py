"""What a test decides about pods: how those with some labels start and end."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, repeat
from threading import Event, Thread
from typing import Any
from uuid import uuid4

from cluster import stages
from cluster.stages import ALIVE, NOT_READY, NOT_STARTED, POD, READY, RUNNING, Each, status_step, where
from kubernetes import client

# Makes the stages of one script; the argument is `stages.stage` with the pods' selector filled in.
Script = Callable[[Callable[..., dict[str, Any]]], list[dict[str, Any]]]


def succeed(*, after: float = 0, message: str = "") -> Script:
    """Runs for `after` seconds, then exits with 0."""
    return lambda stage: [stage("succeed", [READY], stages.ended_status(0, message=message), after=after)]


def fail(exit_code: int, *, message: str = "", reason: str = "", after: float = 0) -> Script:
    """Runs for `after` seconds, then exits; `message` is the termination log."""
    end = stages.ended_status(exit_code, reason=reason, message=message)
    return lambda stage: [stage("fail", [RUNNING], end, after=after)]


def out_of_memory(*, after: float = 0) -> Script:
    """The kernel kills the container for its memory limit."""
    return fail(137, reason="OOMKilled", after=after)


def never_ready() -> Script:
    """Runs, but its readiness probe does not pass."""
    return lambda stage: [stage("start", NOT_STARTED, stages.running_status(ready=False))]


def ready_after(seconds: float) -> Script:
    """Runs, and its readiness probe passes `seconds` later."""
    return lambda stage: [
        stage("start", NOT_STARTED, stages.running_status(ready=False)),
        stage("ready", [RUNNING, NOT_READY], stages.running_status(ready=True), after=seconds),
    ]


def running_at(address: str) -> Script:
    """Runs for ever, at an address of this machine."""
    status = stages.running_status(ready=True) | {"podIP": address, "podIPs": [{"ip": address}]}
    return lambda stage: [stage("start", NOT_STARTED, status)]


def waiting(reason: str, message: str = "") -> Script:
    """Never starts: ImagePullBackOff, CreateContainerConfigError and the like."""
    state = {"waiting": {"reason": reason, "message": stages.text(message)}}
    status = {
        "phase": "Pending",
        "containerStatuses": Each({"ready": False, "started": False, "state": state}),
    }
    return lambda stage: [stage("wait", NOT_STARTED, status)]


def never_started() -> Script:
    """Is on its node, whose kubelet never gets to its containers."""
    status = {
        "phase": "Pending",
        "containerStatuses": Each(
            {"ready": False, "started": False, "state": {"waiting": {"reason": "ContainerCreating"}}}
        ),
    }
    return lambda stage: [stage("create", NOT_STARTED, status)]


def evicted(message: str) -> Script:
    """Its node has too little of something, and ends it."""
    target = stages.condition("DisruptionTarget", True, "TerminationByKubelet")
    status = stages.ended_status(137) | {"reason": "Evicted", "message": stages.text(message)}
    status["conditions"] = [*status["conditions"], target]
    return lambda stage: [stage("evict", [RUNNING], status)]


def crash_loop(exit_code: int, *, message: str = "", restarts: int = 5) -> Script:
    """Starts and exits over and over, as a container of a Deployment does."""
    container = {
        "ready": False,
        "started": False,
        "restartCount": restarts,
        "state": {
            "waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}
        },
        "lastState": stages.terminated(exit_code, "Error", message),
    }
    status = stages.running_status(ready=False) | {"containerStatuses": Each(container)}
    return lambda stage: [stage("crash", NOT_STARTED, status)]


def stopped_before_start(exit_code: int, *, message: str = "", restarts: int = 5) -> Script:
    """Its init containers exit over and over, and its containers wait for them."""
    init = {
        "ready": False,
        "started": False,
        "restartCount": restarts,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": stages.terminated(exit_code, "Error", message),
    }
    held = {"ready": False, "started": False, "state": {"waiting": {"reason": "PodInitializing"}}}
    status = {
        "phase": "Pending",
        "initContainerStatuses": Each(init, "initContainers"),
        "containerStatuses": Each(held),
    }
    return lambda stage: [stage("initialize", NOT_STARTED, status)]


@dataclass(frozen=True, kw_only=True)
class Pods:
    """The pods of one namespace."""

    api: client.ApiClient
    namespace: str
    _forgotten: Event = field(default_factory=Event, init=False)
    _showing: list[Thread] = field(default_factory=list, init=False)

    def play(self, labels: dict[str, str], script: Script) -> None:
        """From now on pods with `labels`, those that exist included, follow `script`.

        Two scripts must not fit the same pod: kwok would choose one at random.
        """
        prefix = f"{self.namespace}.{uuid4().hex[:8]}"

        def stage(
            name: str, when: list[dict[str, Any]], status: dict[str, Any], *, after: float = 0
        ) -> dict[str, Any]:
            here = where(".metadata.namespace", "In", self.namespace)
            return stages.stage(
                f"{prefix}.{name}",
                POD,
                [here, ALIVE, *when],
                status_step(status),
                labels=labels,
                after=after,
                weight=stages.SCRIPTED_WEIGHT,
            )

        for each in script(stage):
            stages.create(self.api, each)
        self._show_again(labels)

    def forget(self) -> None:
        """Every script of this namespace ends."""
        self._forgotten.set()
        for thread in self._showing:
            thread.join()
        custom = client.CustomObjectsApi(self.api)
        known = custom.list_cluster_custom_object(stages.GROUP, stages.VERSION, stages.PLURAL)
        for item in known["items"]:
            if (name := item["metadata"]["name"]).startswith(f"{self.namespace}."):
                custom.delete_cluster_custom_object(stages.GROUP, stages.VERSION, stages.PLURAL, name)

    def _show_again(self, labels: dict[str, str]) -> None:
        """kwok looks at a pod when the pod changes, not when a Stage does, whose arrival it tells nobody."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        found = client.CoreV1Api(self.api).list_namespaced_pod(self.namespace, label_selector=selector)
        if names := [pod.metadata.name for pod in found.items]:
            self._showing.append(Thread(target=self._show, args=(names,)))
            self._showing[-1].start()

    def _show(self, names: list[str]) -> None:
        core = client.CoreV1Api(self.api)
        for seconds in chain([0.2, 0.5, 2.0], repeat(10.0)):
            if self._forgotten.wait(seconds):
                return
            for name in names:
                shown = {"metadata": {"annotations": {"finetune.dev/shown": uuid4().hex}}}
                with suppress(client.ApiException):  # it is gone
                    core.patch_namespaced_pod(name, self.namespace, shown)
