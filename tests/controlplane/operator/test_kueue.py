"""A queue of Kueue itself, with the quota that the guide gives as its example: `make kueue`.

Not a part of `make test`: Kueue takes five minutes to build, and root to run.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.commands import Run
from cluster.controlplane import ControlPlane
from cluster.kueue import KUEUE
from cluster.pods import Pods, succeed
from cluster.webhook_certificate import write_certificate
from kubernetes import client
from parents import Parents, job_spec
from waiting import until

HERE = Path(__file__).parent
GUIDE = HERE.parents[2] / "docs/guides/kueue.md"
# Without its own management of certificates it looks for them there and nowhere else.
METRICS_CERTIFICATES = Path("/etc/kueue/metrics/certs")
TRAIN = {"app.kubernetes.io/component": "train"}
STAGES_WITHOUT_GPU = ("prepare", "merge", "verify")

pytestmark = pytest.mark.kueue


@pytest.fixture(scope="module")
def kueue(control_plane: ControlPlane, kubectl: Run) -> Iterator[None]:
    kubectl("create", "namespace", KUEUE.namespace)
    write_certificate(METRICS_CERTIFICATES)
    process = KUEUE.start(control_plane, kubectl)
    yield
    # Its webhooks would refuse everybody's Jobs once it is gone.
    kubectl("delete", "mutatingwebhookconfiguration,validatingwebhookconfiguration", KUEUE.name)
    process.stop()
    shutil.rmtree(METRICS_CERTIFICATES)


def of_the_guide(name: str) -> str:
    found = re.search(rf"```yaml\n# {name}.yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def queues(kueue: None, kubectl: Run, namespace: str) -> Iterator[None]:
    """The guide's: 32 GPUs, for one job of four nodes."""
    assert kueue is None
    manifest = of_the_guide("queues").replace("team-a", namespace)
    # What was just made is not yet known to the webhooks.
    until("queues", lambda: kubectl("apply", "--filename=-", stdin=manifest, check=False).returncode == 0)
    yield
    kubectl("delete", "--filename=-", "--wait=false", stdin=manifest)


@pytest.fixture
def stages(pods: Pods) -> None:
    for stage in STAGES_WITHOUT_GPU:
        pods.play({"app.kubernetes.io/component": stage}, succeed())


def queued(parents: Parents, name: str, nodes: int = 4, priority: str = "", **train: Any) -> None:
    workers = {"nodes": nodes, "gpusPerNode": 8}
    scheduling = {"queueName": "training"} | ({"priorityClassName": priority} if priority else {})
    stages = {"train": train} if train else {}
    spec = job_spec(workers=workers, scheduling=scheduling, stageOverrides=stages)
    parents.create("FineTuneJob", name, spec)


def training_pods(parents: Parents, name: str) -> list[client.V1Pod]:
    return [pod for pod in parents.pods(component="train") if pod.metadata.name.startswith(f"{name}-")]


def is_held_back(parents: Parents, name: str) -> bool:
    trained = parents.condition("FineTuneJob", name, "Trained")
    return "the queue has not admitted its Job" in trained.get("message", "")


@pytest.mark.usefixtures("queues", "stages")
def test_all_nodes_start_or_none(parents: Parents, pods: Pods) -> None:
    queued(parents, "first")
    until("every pod", lambda: len(training_pods(parents, "first")) == 4)
    queued(parents, "second")
    until("a job that waits", lambda: is_held_back(parents, "second"))
    assert not training_pods(parents, "second")

    pods.play(TRAIN, succeed(after=1))
    parents.until("FineTuneJob", "first", "Complete")
    parents.until("FineTuneJob", "second", "Complete")


@pytest.mark.usefixtures("queues", "stages")
def test_what_kueue_stops_goes_on_when_it_is_admitted_again(
    parents: Parents, pods: Pods, kubectl: Run
) -> None:
    queued(parents, "faq")
    until("every pod", lambda: len(training_pods(parents, "faq")) == 4)
    kubectl("patch", "clusterqueue/gpus", "--type=merge", '--patch={"spec": {"stopPolicy": "HoldAndDrain"}}')
    until("a job that waits", lambda: is_held_back(parents, "faq"))
    until("no pods", lambda: not training_pods(parents, "faq"))

    kubectl("patch", "clusterqueue/gpus", "--type=merge", '--patch={"spec": {"stopPolicy": "None"}}')
    until("every pod", lambda: len(training_pods(parents, "faq")) == 4)
    pods.play(TRAIN, succeed(after=1))
    parents.until("FineTuneJob", "faq", "Complete")
    assert len([job for job in parents.jobs() if "-train-" in job.metadata.name]) == 1


@pytest.fixture
def urgent(kubectl: Run, kueue: None) -> Iterator[None]:
    """A class of each kind, by one name."""
    assert kueue is None
    workloads = {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "WorkloadPriorityClass",
        "metadata": {"name": "urgent"},
        "value": 1000,
        "description": "",
    }
    kubectl("create", "priorityclass", "urgent", "--value=1000")
    until(
        "a class",
        lambda: kubectl("apply", "--filename=-", stdin=json.dumps(workloads), check=False).returncode == 0,
    )
    yield
    kubectl("delete", "priorityclass,workloadpriorityclass", "urgent")


@pytest.mark.usefixtures("queues", "stages", "urgent")
@pytest.mark.parametrize(
    "urgency",
    [
        pytest.param({"priority": "urgent"}, id="of pods"),
        pytest.param({"labels": {"kueue.x-k8s.io/priority-class": "urgent"}}, id="of workloads"),
    ],
)
def test_who_is_urgent_goes_first_and_who_was_stopped_goes_on_after(
    parents: Parents, pods: Pods, urgency: dict[str, Any]
) -> None:
    queued(parents, "first")
    until("every pod", lambda: len(training_pods(parents, "first")) == 4)
    queued(parents, "second", **urgency)
    until("a job that was preempted", lambda: is_held_back(parents, "first"))
    until("the other's pods", lambda: len(training_pods(parents, "second")) == 4)
    until("no pods of the first", lambda: not training_pods(parents, "first"))

    pods.play(TRAIN, succeed(after=1))
    parents.until("FineTuneJob", "second", "Complete")
    parents.until("FineTuneJob", "first", "Complete")
    # In the same Job: a preemption is no failure.
    assert len([job for job in parents.jobs() if job.metadata.name.startswith("first-")]) == 4
    assert ((parents.get("FineTuneJob", "first") or {})["status"]).get("restarts", 0) == 0


RACK = "cloud.provider.com/topology-rack"
NEAR = {"kueue.x-k8s.io/podset-required-topology": RACK}


@pytest.fixture
def racks(queues: None, kubectl: Run) -> Iterator[None]:
    """The guide's, of two nodes each."""
    assert queues is None
    for node, rack in (("gpu-0", "a"), ("gpu-1", "b"), ("gpu-2", "a"), ("gpu-3", "b")):
        kubectl("label", "node", node, f"{RACK}={rack}")
    # Which topology a flavour has never changes: another flavour of the same name.
    kubectl("delete", "clusterqueue/gpus", "resourceflavor/h200")
    manifest = of_the_guide("topology")
    until("racks", lambda: kubectl("apply", "--filename=-", stdin=manifest, check=False).returncode == 0)
    queue = yaml.safe_load_all(of_the_guide("queues"))
    (again,) = (each for each in queue if each["kind"] == "ClusterQueue")
    kubectl("apply", "--filename=-", stdin=json.dumps(again))
    yield
    kubectl("label", "nodes", "--all", f"{RACK}-")
    kubectl("delete", "topology", "racks", "--wait=false")


@pytest.mark.usefixtures("racks", "stages")
def test_training_is_kept_in_one_rack_and_what_no_rack_holds_waits(parents: Parents, pods: Pods) -> None:
    queued(parents, "wide", nodes=3, annotations=NEAR)
    until("a job that waits", lambda: is_held_back(parents, "wide"))
    queued(parents, "near", nodes=2, annotations=NEAR)
    placed = until("pods on nodes", lambda: nodes_of(parents, "near", 2))
    assert placed in ({"gpu-0", "gpu-2"}, {"gpu-1", "gpu-3"})
    assert all(NEAR.items() <= pod.metadata.annotations.items() for pod in training_pods(parents, "near"))
    assert not training_pods(parents, "wide")
    pods.play(TRAIN, succeed(after=1))
    parents.until("FineTuneJob", "near", "Complete")


def nodes_of(parents: Parents, name: str, number: int) -> set[str]:
    """The nodes of its pods, once as many are on one."""
    found = {pod.spec.node_name for pod in training_pods(parents, name)} - {None}
    return found if len(found) == number else set()
