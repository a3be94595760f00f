"""Faults of real pods, and where a job ends after each. Training alone, which is what they hit."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml
from cluster.commands import WAIT, Run
from cluster.real.cluster import RealCluster
from in_cluster import ROOT, SYSTEM, InCluster, quickstart
from waiting import until

TRAINS = "app.kubernetes.io/component=train"
RANK_0 = f"{TRAINS},batch.kubernetes.io/job-completion-index=0"
NOW = ("--grace-period=0", "--force")
SHORT = ("--grace-period=2",)
DENY_ALL = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "default-deny"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
}

pytestmark = [pytest.mark.usefixtures("operator", "images"), pytest.mark.timeout(3600)]


def start(place: InCluster, *, nodes: int = 1, steps: int = 60) -> None:
    """The quickstart up to its adapter, by two processes."""
    job, _ = quickstart()
    for field in ("samples", "validation"):
        del job["spec"]["training"][field]
    job["spec"]["training"] |= {"steps": steps, "checkpoint": {"interval": 10}}
    together = {"affinity": {"podAntiAffinity": {}}}
    job["spec"]["workers"] |= {"nodes": nodes, "processesPerNode": 2 // nodes, "podOverrides": together}
    job["spec"]["export"] = {"adapterOnly": True}
    place.apply(yaml.safe_dump(job))


def until_step(place: InCluster, step: int) -> None:
    """Until the status tells of that step of training."""

    def reached() -> bool:
        progress = place.get("finetunejob", "faq").get("status", {}).get("progress") or {}
        return (progress.get("step") or 0) >= step

    until(f"step {step}", reached)


def runs(pod: dict[str, Any]) -> bool:
    return bool(pod["status"]["phase"] == "Running")


def status(place: InCluster) -> dict[str, Any]:
    return dict(place.get("finetunejob", "faq")["status"])


@pytest.mark.parametrize(
    ("nodes", "pods", "how"),
    [
        pytest.param(1, TRAINS, NOW, id="the only pod, killed"),
        pytest.param(1, TRAINS, SHORT, id="the only pod, two seconds after SIGTERM"),
        pytest.param(2, RANK_0, NOW, id="that of rank 0, killed"),
    ],
)
def test_training_goes_on_after_a_pod_of_it_ended(
    place: InCluster, nodes: int, pods: str, how: tuple[str, ...]
) -> None:
    start(place, nodes=nodes)
    until_step(place, 20)
    place.run("delete", "pods", f"--selector={pods}", *how)
    place.wait_until_complete("faq")


def test_an_operator_that_is_killed_in_training_finds_the_job_again(place: InCluster, kubectl: Run) -> None:
    start(place)
    until_step(place, 10)
    kubectl("delete", "pods", "--all", f"--namespace={SYSTEM}", *NOW)
    place.wait_until_complete("faq")
    assert not status(place).get("restarts")


def test_a_kubelet_that_starts_again_leaves_training_alone(place: InCluster, cluster: RealCluster) -> None:
    start(place)
    until_step(place, 10)
    cluster.node.restart("kubelet")
    place.wait_until_complete("faq")
    assert not status(place).get("restarts")


def test_pods_that_start_without_dns_meet_once_it_is_there(place: InCluster, cluster: RealCluster) -> None:
    coredns = cluster.node.processes["coredns"]
    coredns.stop()
    try:
        start(place, nodes=2)
        until("two pods that run", lambda: place.pods(TRAINS) and all(map(runs, place.pods(TRAINS))))
        time.sleep(30)  # how long names are away for them
    finally:
        coredns.start()
    place.wait_until_complete("faq")
    assert not status(place).get("restarts")


def test_a_namespace_that_denies_everything_lets_a_run_s_pods_meet(place: InCluster) -> None:
    """By the policies of the run itself."""
    place.apply(yaml.safe_dump(DENY_ALL))
    start(place, nodes=2)
    place.wait_until_complete("faq")


def test_a_full_volume_is_named(place: InCluster, cluster: RealCluster) -> None:
    """One of its own size, mounted over the claim's folder where the kubelet looks for it."""
    node = cluster.node.namespaces
    base = str(place.volume)
    node.run("cp", "--archive", base, f"{base}.kept")
    node.run("mount", "-t", "tmpfs", "-o", "size=26m,mode=0777", "tmpfs", base)
    node.run("cp", "--archive", f"{base}.kept/.", base)
    try:
        start(place)
        until("a failure", lambda: place.condition("finetunejob", "faq", "Failed").get("status") == "True")
        assert "Free space" in place.condition("finetunejob", "faq", "Failed")["message"]
    finally:
        place.run("delete", "finetunejob", "faq", WAIT)
        node.run("umount", "--lazy", base)


def test_an_image_that_cannot_be_pulled_is_named_and_the_job_goes_on_with_another(
    place: InCluster, helm: Run
) -> None:
    with trainer_tag(helm, "no-such-tag"):
        start(place, steps=5)
        until("the image in the message", lambda: "no-such-tag" in _says(place))
    place.wait_until_complete("faq")


@contextmanager
def trainer_tag(helm: Run, tag: str) -> Iterator[None]:
    chart = str(ROOT / "helm/finetune-operator")
    here = (f"--namespace={SYSTEM}", "--reuse-values", "--wait", WAIT)
    helm("upgrade", "finetune-operator", chart, *here, "--set", f"images.trainer.tag={tag}")
    try:
        yield
    finally:
        helm("rollback", "finetune-operator", f"--namespace={SYSTEM}", "--wait", WAIT)


def _says(place: InCluster) -> str:
    return str(place.condition("finetunejob", "faq", "Prepared").get("message", ""))
