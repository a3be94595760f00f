"""The operator killed, and the API server restarted, at random instants: the end is the undisturbed one."""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from cluster.controlplane import ControlPlane
from cluster.operator_pod import OperatorPod
from cluster.pods import Pods, fail, succeed
from forked_operator import ForkedOperators
from kubernetes import client, watch
from parents import DEPLOYMENT, Parents, job_spec
from waiting import until

KILLS, RESTARTS = 100, 10
JOBS = 5
TIMES = {"startTime", "completionTime"}


@pytest.fixture
def played(pods: Pods) -> None:
    """Every stage but training runs for a moment."""
    for stage in ("prepare", "merge", "verify"):
        pods.play({"app.kubernetes.io/component": stage}, succeed(after=0.5))


def create(parents: Parents, name: str) -> None:
    parents.create("FineTuneJob", name, job_spec(deployment=DEPLOYMENT))


def run_of(parents: Parents, name: str) -> str:
    found = until("a run", lambda: (parents.get("FineTuneJob", name) or {}).get("status", {}).get("run"))
    return str(found)


def play_training(pods: Pods, name: str, run: str) -> None:
    """The first attempt to train fails, the second is done in a moment."""
    pods.play({"batch.kubernetes.io/job-name": f"{name}-{run}-train-0"}, fail(11, after=0.3))
    pods.play({"batch.kubernetes.io/job-name": f"{name}-{run}-train-1"}, succeed(after=0.5))


def end_state(parents: Parents, name: str) -> dict[str, Any]:
    """What a job and its deployment have come to, without the moments when they did."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: timeless(item)
                for key, item in value.items()
                if key not in TIMES and key != "lastTransitionTime"
            }
        return [timeless(item) for item in value] if isinstance(value, list) else value

    statuses = [
        timeless((parents.get(kind, name) or {})["status"]) for kind in ("FineTuneJob", "ModelDeployment")
    ]
    text = repr([*statuses, sorted(job.metadata.name for job in parents.jobs() if _is_of(job, name))])
    return {"state": text.replace(name, "NAME")}


def _is_of(job: client.V1Job, name: str) -> bool:
    return bool(job.metadata.labels["app.kubernetes.io/instance"] == name)


class Made:
    """Every Job and Deployment that was ever made in a namespace, by name."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.uids: dict[str, set[str]] = defaultdict(set)
        self._stop = threading.Event()
        self._clients = ExitStack()
        batch = client.BatchV1Api(self._clients.enter_context(plane.api_client()))
        apps = client.AppsV1Api(self._clients.enter_context(plane.api_client()))
        self._threads = [
            threading.Thread(target=self._follow, args=(kind, list_, namespace), daemon=True)
            for kind, list_ in (
                ("Job", batch.list_namespaced_job),
                ("Deployment", apps.list_namespaced_deployment),
            )
        ]
        for thread in self._threads:
            thread.start()

    def _follow(self, kind: str, list_: Any, namespace: str) -> None:
        while not self._stop.is_set():
            try:
                for event in watch.Watch().stream(list_, namespace, timeout_seconds=2):
                    metadata = event["object"].metadata
                    self.uids[f"{kind} {metadata.name}"].add(metadata.uid)
            except Exception:  # the API server is away, as the test wants it
                time.sleep(0.2)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._clients.close()

    @property
    def twice(self) -> dict[str, set[str]]:
        return {name: uids for name, uids in self.uids.items() if len(uids) > 1}


@pytest.fixture
def made(control_plane: ControlPlane, namespace: str) -> Iterator[Made]:
    found = Made(control_plane, namespace)
    yield found
    found.stop()


@pytest.fixture
def undisturbed(parents: Parents, pods: Pods, played: None) -> dict[str, Any]:
    """The end state of a job that nothing happened to."""
    assert played is None
    return live(parents, pods, "calm")


def live(parents: Parents, pods: Pods, name: str) -> dict[str, Any]:
    create(parents, name)
    play_training(pods, name, run_of(parents, name))
    return finish(parents, name)


def finish(parents: Parents, name: str) -> dict[str, Any]:
    parents.until("FineTuneJob", name, "Complete")
    parents.until("ModelDeployment", name, "Available")
    until(
        "a settled deployment",
        lambda: not parents.is_reconciling("ModelDeployment", name),
    )
    return end_state(parents, name)


def test_the_operator_killed_at_a_hundred_random_instants(
    operator: OperatorPod, parents: Parents, pods: Pods, made: Made, undisturbed: dict[str, Any]
) -> None:
    instants = random.Random(3)
    folder = operator.folder
    forked = ForkedOperators(
        config=folder / "operator.yaml",
        kubeconfig=operator.credentials.kubeconfig("operator"),
        log=folder / "forked.log",
    )
    ends = []
    with operator.paused(), forked:
        forked.start()
        for number in range(JOBS):
            name = f"killed-{number}"
            create(parents, name)
            played = False
            for _ in range(KILLS // JOBS):
                time.sleep(instants.uniform(0.0, 1.0))
                forked.kill()
                forked.start()
                run = (parents.get("FineTuneJob", name) or {}).get("status", {}).get("run")
                if run and not played:
                    play_training(pods, name, run)
                    played = True
            if not played:
                play_training(pods, name, run_of(parents, name))
            ends.append(finish(parents, name))
    assert ends == [undisturbed] * JOBS
    assert made.twice == {}


def test_the_api_server_restarted_ten_times(
    control_plane: ControlPlane, parents: Parents, pods: Pods, made: Made, undisturbed: dict[str, Any]
) -> None:
    instants = random.Random(4)
    create(parents, "restarted")
    play_training(pods, "restarted", run_of(parents, "restarted"))
    for _ in range(RESTARTS):
        time.sleep(instants.uniform(0.0, 1.5))
        control_plane.processes["kube-apiserver"].kill()
        control_plane.start_process("kube-apiserver")
    assert finish(parents, "restarted") == undisturbed
    assert made.twice == {}
