"""Lives of jobs, to be compared: what a job has come to, and what was made and said on the way."""

import threading
import time
from collections import defaultdict
from contextlib import ExitStack
from typing import Any

from cluster.controlplane import ControlPlane
from cluster.pods import Pods, fail, succeed
from kubernetes import client, watch
from parents import DEPLOYMENT, Parents, job_spec
from waiting import until

_TIMES = {"startTime", "completionTime", "lastTransitionTime"}


def live(parents: Parents, pods: Pods, name: str) -> dict[str, Any]:
    """Let a job live undisturbed; return its end state."""
    create(parents, name)
    play_training(pods, name, run_of(parents, name))
    return finish(parents, name)


def create(parents: Parents, name: str) -> None:
    parents.create("FineTuneJob", name, job_spec(deployment=DEPLOYMENT))


def run_of(parents: Parents, name: str) -> str:
    found = until("a run", lambda: seen_run_of(parents, name))
    return str(found)


def seen_run_of(parents: Parents, name: str) -> str | None:
    run: str | None = (parents.get("FineTuneJob", name) or {}).get("status", {}).get("run")
    return run


def play_training(pods: Pods, name: str, run: str) -> None:
    """The first attempt to train fails, the second is done in a moment."""
    pods.play({"batch.kubernetes.io/job-name": f"{name}-{run}-train-0"}, fail(11, after=0.3))
    pods.play({"batch.kubernetes.io/job-name": f"{name}-{run}-train-1"}, succeed(after=0.5))


def finish(parents: Parents, name: str) -> dict[str, Any]:
    """Wait for the end of a job's life; return its end state."""
    parents.until("FineTuneJob", name, "Complete")
    parents.until("ModelDeployment", name, "Available")
    until(
        "a settled deployment",
        lambda: not parents.is_reconciling("ModelDeployment", name),
    )
    return end_state(parents, name)


def end_state(parents: Parents, name: str) -> dict[str, Any]:
    """What a job and its deployment have come to, without the moments when they did."""
    statuses = [
        _timeless((parents.get(kind, name) or {})["status"]) for kind in ("FineTuneJob", "ModelDeployment")
    ]
    text = repr([*statuses, sorted(job.metadata.name for job in parents.jobs() if _is_of(job, name))])
    return {"state": text.replace(name, "NAME")}


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in _TIMES}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def _is_of(job: client.V1Job, name: str) -> bool:
    return bool(job.metadata.labels["app.kubernetes.io/instance"] == name)


class Made:
    """Every Job, Deployment and event ever made in a namespace, by name; an event by what it says."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.uids: dict[str, set[str]] = defaultdict(set)
        self._stop = threading.Event()
        self._clients = ExitStack()
        batch, apps, core = (
            api(self._clients.enter_context(plane.api_client()))
            for api in (client.BatchV1Api, client.AppsV1Api, client.CoreV1Api)
        )
        self._threads = [
            threading.Thread(target=self._follow, args=(kind, list_, namespace), daemon=True)
            for kind, list_ in (
                ("Job", batch.list_namespaced_job),
                ("Deployment", apps.list_namespaced_deployment),
                ("Event", core.list_namespaced_event),
            )
        ]
        for thread in self._threads:
            thread.start()

    def _follow(self, kind: str, list_: Any, namespace: str) -> None:
        while not self._stop.is_set():
            try:
                for event in watch.Watch().stream(list_, namespace, timeout_seconds=2):
                    if name := _name_of(kind, event["object"]):
                        self.uids[name].add(event["object"].metadata.uid)
            except Exception:  # the API server is away, as the test wants it
                time.sleep(0.2)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._clients.close()

    def until(self, name: str) -> None:
        """Wait until an object was made."""
        until(name, lambda: name in self.uids)

    @property
    def twice(self) -> dict[str, set[str]]:
        """What was made more often than a life has it: each of its two attempts to train is said."""
        return {
            name: uids for name, uids in self.uids.items() if len(uids) > (2 if " Training: " in name else 1)
        }

    @property
    def events(self) -> int:
        return sum(name.startswith("Event ") for name in self.uids)


def _name_of(kind: str, obj: Any) -> str:
    """What an object is called; empty for an event that is not the operator's."""
    if kind != "Event":
        return f"{kind} {obj.metadata.name}"
    about = obj.involved_object
    is_ours = obj.reporting_component == "finetune-operator"
    return f"Event {about.kind} {about.name} {obj.reason}: {obj.message}" if is_ours else ""
