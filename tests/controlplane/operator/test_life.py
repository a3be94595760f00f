"""The whole life of both kinds, pods played by kwok."""

import json
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from cluster.commands import WAIT, Run
from cluster.operator_pod import OperatorPod
from cluster.pods import Pods, ready_after, running_at, succeed
from kubernetes import client
from parents import DEPLOYMENT, Parents, job_spec
from waiting import until

CHILDREN = (
    "jobs,deployments,services,configmaps,poddisruptionbudgets,networkpolicies,horizontalpodautoscalers,"
    "modeldeployments,finetunejobs"
)


@pytest.mark.usefixtures("stages_succeed")
def test_a_job_goes_through_its_stages_and_its_model_is_served(parents: Parents, pods: Pods) -> None:
    pods.play({"app.kubernetes.io/component": "serve"}, ready_after(1))
    parents.create("FineTuneJob", "faq", job_spec(deployment=DEPLOYMENT))

    parents.until("FineTuneJob", "faq", "Complete")
    parents.until("ModelDeployment", "faq", "Available")

    job = parents.get("FineTuneJob", "faq")
    deployment = parents.get("ModelDeployment", "faq")
    assert job
    assert deployment
    run = job["status"]["run"]
    assert [each.metadata.name for each in parents.jobs()] == [
        f"faq-{run}-{stage}-0" for stage in ("merge", "prepare", "train", "verify")
    ]
    assert job["status"]["modelPath"] == f"runs/{parents.namespace}/faq/{run}/merged"
    assert deployment["status"]["modelPath"] == job["status"]["modelPath"]
    assert deployment["status"]["endpoint"] == f"http://faq.{parents.namespace}.svc:8000"
    true = [c["type"] for c in job["status"]["conditions"] if c["status"] == "True"]
    assert {"Prepared", "Trained", "Converted", "Verified", "Complete"} <= set(true)
    assert ("Normal", "Complete") in parents.events("FineTuneJob", "faq")
    assert ("Normal", "Serving") in parents.events("ModelDeployment", "faq")


def test_training_is_one_pod_a_node_that_meet_at_rank_0(parents: Parents, pods: Pods) -> None:
    pods.play({"app.kubernetes.io/component": "prepare"}, succeed())
    workers = {"nodes": 4, "gpusPerNode": 8}
    parents.create("FineTuneJob", "big", job_spec(workers=workers))

    running = until(
        "four pods that run",
        lambda: (
            len(p := [p for p in parents.pods(component="train") if p.status.phase == "Running"]) == 4 and p
        ),
    )
    assert {pod.spec.node_name for pod in running} == {"gpu-0", "gpu-1", "gpu-2", "gpu-3"}
    (job,) = (each for each in parents.jobs() if "-train-" in each.metadata.name)
    assert (job.spec.completions, job.spec.parallelism, job.spec.completion_mode) == (4, 4, "Indexed")
    container = running[0].spec.containers[0]
    assert container.resources.limits["nvidia.com/gpu"] == "8"
    env = {each.name: each.value for each in container.env}
    assert env["MASTER_ADDR"].startswith(f"{job.metadata.name}-0.")
    assert env["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"


@pytest.mark.usefixtures("stages_succeed")
def test_deleting_a_job_leaves_nothing(parents: Parents, kubectl: Run) -> None:
    parents.create("FineTuneJob", "faq", job_spec(deployment=DEPLOYMENT))
    parents.until("ModelDeployment", "faq", "Available")
    parents.delete("FineTuneJob", "faq")

    def left() -> list[str]:
        found = kubectl("get", CHILDREN, "--namespace", parents.namespace, "--output=json").stdout
        names = [f"{item['kind']}/{item['metadata']['name']}" for item in json.loads(found)["items"]]
        return [name for name in names if name != "ConfigMap/kube-root-ca.crt"]

    until("nothing left", lambda: not left())
    until("no pods", lambda: not parents.pods())


@pytest.mark.usefixtures("stages_succeed")
def test_a_deletion_does_not_wait_for_the_operator(parents: Parents, operator: OperatorPod) -> None:
    """So that an operator that is uninstalled first leaves nothing that cannot be deleted."""
    parents.create("FineTuneJob", "faq", job_spec(deployment=DEPLOYMENT))
    parents.until("ModelDeployment", "faq", "Available")
    with operator.paused():
        for kind in ("ModelDeployment", "FineTuneJob"):
            assert "finalizers" not in (parents.get(kind, "faq") or {})["metadata"]
            parents.delete(kind, "faq")
        until("nothing left", lambda: not parents.jobs() and not parents.pods())


@pytest.mark.usefixtures("stages_succeed")
def test_kubectl_shows_waits_and_explains(parents: Parents, kubectl: Run) -> None:
    here = ("--namespace", parents.namespace)
    parents.create("FineTuneJob", "faq", job_spec())
    kubectl("wait", "--for=condition=Complete", "ftj/faq", *here, WAIT)
    assert "Complete" in kubectl("get", "ftj", *here).stdout
    assert "Events" in kubectl("describe", "ftj", "faq", *here).stdout
    assert "DESCRIPTION" in kubectl("explain", "finetunejobs.spec.training").stdout
    assert kubectl("delete", "ftj", "faq", *here, WAIT)


@pytest.mark.usefixtures("stages_succeed")
def test_a_status_that_was_deleted_comes_back(parents: Parents, api: client.ApiClient) -> None:
    parents.create("FineTuneJob", "faq", job_spec())
    parents.until("FineTuneJob", "faq", "Complete")
    before = parents.get("FineTuneJob", "faq")
    assert before
    # The whole status goes; the operator must come to the same one from the Jobs alone.
    client.CustomObjectsApi(api).patch_namespaced_custom_object_status(
        "finetune.dev", "v1alpha1", parents.namespace, "finetunejobs", "faq", {"status": None}
    )
    parents.until("FineTuneJob", "faq", "Complete")
    after = parents.get("FineTuneJob", "faq")
    assert after
    steady = {"Prepared", "Trained", "Converted", "Verified", "Complete"}

    def settled(status: dict[str, Any]) -> dict[str, Any]:
        conditions = [c for c in status["conditions"] if c["type"] in steady]
        return status | {"conditions": conditions}

    assert settled(after["status"]) == settled(before["status"])


@pytest.mark.usefixtures("stages_succeed")
def test_nothing_is_asked_of_the_api_once_all_is_said(parents: Parents, operator: OperatorPod) -> None:
    parents.create("FineTuneJob", "faq", job_spec(deployment=DEPLOYMENT))
    parents.until("ModelDeployment", "faq", "Available")
    until("a settled deployment", lambda: not parents.is_reconciling("ModelDeployment", "faq"))

    def asks_nothing() -> bool:
        before = requests_of(operator)
        time.sleep(5)
        return requests_of(operator) == before

    until("five seconds without a request", asks_nothing)


def requests_of(operator: OperatorPod) -> dict[str, float]:
    """The operator's own count of its requests, without those by which it goes on leading."""
    with urllib.request.urlopen(f"http://127.0.0.1:{operator.metrics_port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("finetune_api_requests_total"))
    return {labels: float(count) for labels, count in pairs if 'resource="leases"' not in labels}


PROGRESS = {"stage": "train", "step": 3, "totalSteps": 10, "loss": 2.5, "tokensPerSecond": 100.0}


class _Progress(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(PROGRESS).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def progress_server() -> Iterator[None]:
    """What a trainer serves, at the address that the played pods have."""
    with ThreadingHTTPServer(("127.0.0.1", 9400), _Progress) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


@pytest.mark.usefixtures("progress_server")
def test_the_progress_of_rank_0_reaches_the_status(parents: Parents, pods: Pods) -> None:
    pods.play({"app.kubernetes.io/component": "prepare"}, succeed())
    pods.play({"app.kubernetes.io/component": "train"}, running_at("127.0.0.1"))
    parents.create("FineTuneJob", "faq", job_spec())
    progress = until(
        "progress", lambda: (parents.get("FineTuneJob", "faq") or {}).get("status", {}).get("progress")
    )
    assert progress == PROGRESS
