"""The operator killed, its leader changed, the API server restarted: the end is the undisturbed one."""

import itertools
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cluster.controlplane import ControlPlane
from cluster.operator_pod import OperatorPod
from cluster.pods import Pods, succeed
from forked_operator import ForkedOperators
from kubernetes import client
from lives import Made, create, finish, live, play_training, run_of, seen_run_of
from parents import Parents
from replicas import Replica, leader_of, replicas_of
from waiting import until

KILLS, RESTARTS, CHANGES = 100, 10, 20
JOBS = 5
# A life's Jobs, in their order.
ATTEMPTS = ("prepare-0", "train-0", "train-1", "merge-0", "verify-0")


@pytest.fixture
def played(pods: Pods) -> None:
    """Every stage but training runs for a moment."""
    for stage in ("prepare", "merge", "verify"):
        pods.play({"app.kubernetes.io/component": stage}, succeed(after=0.5))


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
    names = [f"killed-{number}" for number in range(JOBS)]
    unplayed = set(names)
    with operator.paused(), forked:
        forked.start()
        for name in names:
            create(parents, name)  # while those before it go on: a kill meets lives at several points
            for _ in range(KILLS // JOBS):
                time.sleep(instants.uniform(0.0, 1.0))
                forked.kill()
                forked.start()
                unplayed -= _played(parents, pods, unplayed)
        for name in unplayed:
            play_training(pods, name, run_of(parents, name))
        ends = [finish(parents, name) for name in names]
    assert ends == [undisturbed] * JOBS
    assert made.twice == {}


def _played(parents: Parents, pods: Pods, names: set[str]) -> set[str]:
    """Play the training of those that have a run by now; return which they are."""
    runs = {name: run for name in names if (run := seen_run_of(parents, name))}
    for name, run in runs.items():
        play_training(pods, name, run)
    return set(runs)


def until_one_leads(api: client.ApiClient, replicas: list[Replica]) -> Replica:
    def one_leads() -> Replica | None:
        for replica in replicas:
            replica.until_ready()
        return leader_of(api, replicas)

    leader = until("a leader", one_leads)
    assert isinstance(leader, Replica)
    return leader


def until_another_leads(api: client.ApiClient, replicas: list[Replica], before: Replica) -> None:
    def another_leads() -> bool:
        for replica in replicas:
            if replica is not before:
                replica.until_ready()
        return leader_of(api, replicas) not in (None, before)

    until("another leader", another_leads)


def test_twenty_changes_of_the_leader(
    operator: OperatorPod,
    api: client.ApiClient,
    parents: Parents,
    pods: Pods,
    made: Made,
    undisturbed: dict[str, Any],
) -> None:
    """By turns it is killed, told to end, and frozen until another leads: then it ends by itself.

    Each time a Job has just been made: its leader has neither seen it nor said so.
    """
    ways = itertools.cycle([Replica.kill, Replica.end, Replica.freeze])
    ends, led = [], []
    with operator.paused(), replicas_of(operator, 2) as replicas:
        for number in range(CHANGES // len(ATTEMPTS)):
            name = f"led-{number}"
            create(parents, name)
            run = run_of(parents, name)
            play_training(pods, name, run)
            for attempt in ATTEMPTS:
                made.until(f"Job {name}-{run}-{attempt}")
                leader = until_one_leads(api, replicas)
                led.append(leader.identity)
                next(ways)(leader)
                until_another_leads(api, replicas, leader)
                leader.start_again()
            ends.append(finish(parents, name))
    assert ends == [undisturbed] * len(ends)
    assert made.twice == {}
    assert made.events > 0
    assert len(set(led)) == CHANGES


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
