"""Faults that hit a job of two pods in the midst of training, one after the other: it goes on after each."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from cluster.commands import WAIT, Run
from cluster.real.cluster import RealCluster
from figures import Figures
from in_cluster import SYSTEM, InCluster
from training_job import (
    CHECKPOINT_INTERVAL,
    RANK_0,
    TRAINS,
    pods_that_train,
    restarts,
    start,
    step,
    until_it_trains,
)
from waiting import until

NOW = ("--grace-period=0", "--force")
SHORT = ("--grace-period=2",)
DENY_ALL = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "default-deny"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
}
IN_SYSTEM = f"--namespace={SYSTEM}"

pytestmark = [pytest.mark.usefixtures("operator", "trainer_image"), pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def job(shared_place: InCluster) -> InCluster:
    """Where one trains that does not end by itself, and has a checkpoint."""
    start(shared_place, nodes=2, steps=100_000)
    until("a checkpoint", lambda: step(shared_place) > CHECKPOINT_INTERVAL + 2)
    return shared_place


@pytest.mark.parametrize(
    ("pods", "how"),
    [
        pytest.param(RANK_0, NOW, id="that of rank 0, killed"),
        pytest.param(TRAINS, NOW, id="both, killed at once"),
        pytest.param(TRAINS, SHORT, id="both, two seconds after SIGTERM"),
    ],
)
def test_training_goes_on_after_pods_of_it_ended(
    job: InCluster, pods: str, how: tuple[str, ...], figures: Figures, request: pytest.FixtureRequest
) -> None:
    until_it_trains(job)
    with figures.timed(request.node.callspec.id):
        _one_restart_after(job, lambda: job.run("delete", "pods", f"--selector={pods}", *how))


def test_pods_that_start_without_dns_meet_once_it_is_there(
    job: InCluster, cluster: RealCluster, figures: Figures
) -> None:
    until_it_trains(job)

    def start_without_names() -> None:
        before = pods_that_train(job)
        job.run("delete", "pods", f"--selector={TRAINS}", *NOW)
        until("two other pods that run", lambda: len(pods_that_train(job) - before) == 2)
        time.sleep(30)  # how long names are away for them

    with figures.timed("names away for 30 s at start"), _stopped(cluster, "coredns"):
        start_without_names()
    with figures.timed("names there again, to the next step"):
        until_it_trains(job)


def test_a_namespace_that_denies_everything_lets_a_run_s_pods_meet(job: InCluster) -> None:
    """By the policies of the run itself."""
    until_it_trains(job)
    job.apply(json.dumps(DENY_ALL))
    _one_restart_after(job, lambda: job.run("delete", "pods", f"--selector={RANK_0}", *NOW))
    job.run("delete", "networkpolicy", "default-deny")


def test_a_kubelet_that_starts_again_leaves_training_alone(
    job: InCluster, cluster: RealCluster, figures: Figures
) -> None:
    until_it_trains(job)
    before = restarts(job), pods_that_train(job)
    with figures.timed("the kubelet, to the next step"):
        cluster.node.restart("kubelet")
        until_it_trains(job)
    assert (restarts(job), pods_that_train(job)) == before


def test_an_operator_that_is_killed_finds_the_job_again(
    job: InCluster, kubectl: Run, figures: Figures
) -> None:
    until_it_trains(job)
    before = restarts(job), pods_that_train(job)
    with figures.timed("both operator pods, to the next step in the status"):
        kubectl("delete", "pods", "--all", IN_SYSTEM, *NOW)
        until_it_trains(job)
    assert (restarts(job), pods_that_train(job)) == before


def test_a_leader_that_is_cut_off_ends_and_the_other_leads(
    job: InCluster, kubectl: Run, cluster: RealCluster, figures: Figures
) -> None:
    """Cut off from the API server as by a broken switch: what it has open stays open and silent."""
    kubectl("rollout", "status", "deployment/finetune-operator", IN_SYSTEM, WAIT)
    until_it_trains(job)
    before, leader = restarts(job), leading_pod(kubectl)
    with _cut_off(cluster, pod_address(kubectl, leader)):
        with figures.timed("the leader cut off, to another leader"):
            until("another leader", lambda: leading_pod(kubectl) != leader)
        until_it_trains(job)
        until("the end of the process that was cut off", lambda: container_restarts(kubectl, leader))
    assert restarts(job) == before
    with figures.timed("the leader reaches the API again, to ready"):
        kubectl("rollout", "status", "deployment/finetune-operator", IN_SYSTEM, WAIT)


def _one_restart_after(job: InCluster, fault: Callable[[], object]) -> None:
    before, pods = restarts(job), pods_that_train(job)
    fault()
    until("two other pods that run", lambda: len(pods_that_train(job) - pods) == 2)
    assert until_it_trains(job) > CHECKPOINT_INTERVAL  # those that begin anew tell of less at first
    assert restarts(job) == before + 1


@contextmanager
def _stopped(cluster: RealCluster, name: str) -> Iterator[None]:
    process = cluster.node.processes[name]
    process.stop()
    try:
        yield
    finally:
        process.start()


@contextmanager
def _cut_off(cluster: RealCluster, address: str) -> Iterator[None]:
    """The pod of that address sends nothing out of its node, nor gets anything from there."""
    rules = [("FORWARD", "-s", address, "-j", "DROP"), ("FORWARD", "-d", address, "-j", "DROP")]
    for rule in rules:
        cluster.node.namespaces.run("iptables", "-I", *rule)
    try:
        yield
    finally:
        for rule in rules:
            cluster.node.namespaces.run("iptables", "-D", *rule)


def leading_pod(kubectl: Run) -> str:
    lease = json.loads(kubectl("get", "lease", "finetune-operator", IN_SYSTEM, "--output=json").stdout)
    return str(lease["spec"].get("holderIdentity", "")).partition("_")[0]


def pod_address(kubectl: Run, name: str) -> str:
    return str(kubectl("get", "pod", name, IN_SYSTEM, "--output=jsonpath={.status.podIP}").stdout)


def container_restarts(kubectl: Run, name: str) -> int:
    path = "--output=jsonpath={.status.containerStatuses[0].restartCount}"
    return int(kubectl("get", "pod", name, IN_SYSTEM, path).stdout or 0)
