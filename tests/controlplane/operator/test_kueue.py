"""A queue of Kueue itself, with the quota that the guide gives as its example: `make kueue`.

Not a part of `make test`: Kueue takes five minutes to build, and root to run.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
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


@pytest.fixture
def queues(kueue: None, kubectl: Run, namespace: str) -> Iterator[None]:
    """The guide's: 32 GPUs, for one job of four nodes."""
    assert kueue is None
    found = re.search(r"```yaml\n# queues.yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found
    manifest = found[1].replace("team-a", namespace)
    # What was just made is not yet known to the webhooks.
    until("queues", lambda: kubectl("apply", "--filename=-", stdin=manifest, check=False).returncode == 0)
    yield
    kubectl("delete", "--filename=-", "--wait=false", stdin=manifest)


@pytest.fixture
def stages(pods: Pods) -> None:
    for stage in STAGES_WITHOUT_GPU:
        pods.play({"app.kubernetes.io/component": stage}, succeed())


def queued(parents: Parents, name: str) -> None:
    workers = {"nodes": 4, "gpusPerNode": 8}
    parents.create("FineTuneJob", name, job_spec(workers=workers, scheduling={"queueName": "training"}))


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
