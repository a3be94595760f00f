"""What failures come to: exit codes, disruptions, suspend, deadline, ttl, and what the API itself refuses."""

import json
from typing import Any

import pytest
from cluster.commands import Run
from cluster.pods import Pods, Script, crash_loop, fail, stopped_before_start, succeed, waiting
from kubernetes import client
from parents import DEPLOYMENT, Parents, job_spec
from waiting import until

PREPARE = {"app.kubernetes.io/component": "prepare"}
TRAIN = {"app.kubernetes.io/component": "train"}
SERVE = {"app.kubernetes.io/component": "serve"}


def said(reason: str, message: str, remedy: str) -> str:
    """The last line of a container's termination log."""
    return json.dumps({"reason": reason, "message": message, "remedy": remedy})


@pytest.mark.parametrize(
    ("code", "reason"),
    [pytest.param(2, "ConfigurationInvalid", id="configuration"), pytest.param(3, "DataInvalid", id="data")],
)
def test_what_a_retry_cannot_help_ends_the_job_at_once(
    parents: Parents, pods: Pods, code: int, reason: str
) -> None:
    pods.play(PREPARE, fail(code, message=said(reason, "faq.jsonl:3: is no JSON", "correct the line")))
    parents.create("FineTuneJob", "faq", job_spec())
    failed = parents.until("FineTuneJob", "faq", "Failed")
    assert (failed["reason"], failed["message"]) == (reason, "faq.jsonl:3: is no JSON. correct the line")
    assert len(parents.jobs()) == 1
    assert ("Warning", reason) in parents.events("FineTuneJob", "faq")


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(fail(10, message=said("OutOfMemory", "80 of 80 GB", "lower")), id="out of memory"),
        pytest.param(fail(11), id="communication"),
        pytest.param(fail(12), id="checkpoint"),
        pytest.param(fail(13), id="storage"),
        pytest.param(fail(1), id="unknown"),
        pytest.param(fail(137, reason="OOMKilled"), id="killed"),
    ],
)
def test_other_failures_are_retried_as_often_as_asked(parents: Parents, pods: Pods, end: Script) -> None:
    pods.play(PREPARE, succeed())
    pods.play(TRAIN, end)
    parents.create("FineTuneJob", "faq", job_spec())
    failed = parents.until("FineTuneJob", "faq", "Failed")
    assert failed["reason"] == "RestartsExhausted"
    assert [job.metadata.name[-7:] for job in parents.jobs() if "train" in job.metadata.name] == [
        "train-0",
        "train-1",
    ]


def test_the_next_attempt_may_succeed(parents: Parents, pods: Pods) -> None:
    for stage in ("prepare", "merge", "verify"):
        pods.play({"app.kubernetes.io/component": stage}, succeed(after=1))
    parents.create("FineTuneJob", "faq", job_spec())
    run = until("a run", lambda: (parents.get("FineTuneJob", "faq") or {}).get("status", {}).get("run"))
    pods.play({"batch.kubernetes.io/job-name": f"faq-{run}-train-0"}, fail(11))
    pods.play({"batch.kubernetes.io/job-name": f"faq-{run}-train-1"}, succeed())
    parents.until("FineTuneJob", "faq", "Complete")
    job = parents.get("FineTuneJob", "faq")
    assert job
    assert job["status"]["restarts"] == 1


def test_a_failed_job_is_tried_again(parents: Parents, pods: Pods, finetune: Run) -> None:
    """With all its restarts anew, and from the stage that failed."""
    for stage in ("prepare", "merge", "verify"):
        pods.play({"app.kubernetes.io/component": stage}, succeed())
    parents.create("FineTuneJob", "faq", job_spec(failurePolicy={"maxRestarts": 0}))
    run = until("a run", lambda: (parents.get("FineTuneJob", "faq") or {}).get("status", {}).get("run"))
    pods.play(TRAIN, fail(3))
    parents.until("FineTuneJob", "faq", "Failed")
    (prepared,) = (job.metadata.uid for job in parents.jobs() if "prepare" in job.metadata.name)
    pods.forget()
    parents.clean_away(f"faq-{run}-train-0")
    parents.settle("FineTuneJob", "faq", {"failurePolicy": {"backoffSeconds": 2}})
    assert parents.condition("FineTuneJob", "faq", "Failed")["status"] == "True"
    assert [job.metadata.name for job in parents.jobs()] == [f"faq-{run}-prepare-0"]
    for stage in ("train", "merge", "verify"):
        pods.play({"app.kubernetes.io/component": stage}, succeed())
    said = finetune("retry", "faq", "--namespace", parents.namespace).stdout
    assert said.splitlines() == [
        "The train stage of FineTuneJob faq is tried again: `finetune watch faq` shows how",
    ]
    parents.until("FineTuneJob", "faq", "Complete")
    status = (parents.get("FineTuneJob", "faq") or {})["status"]
    assert "restarts" not in status or status["restarts"] == 0
    assert prepared in {job.metadata.uid for job in parents.jobs()}


def test_what_was_done_is_not_done_again_when_its_jobs_are_cleaned_away(parents: Parents, pods: Pods) -> None:
    pods.play(PREPARE, succeed())
    parents.create("FineTuneJob", "faq", job_spec())
    until("training pods", lambda: parents.pods(component="train"))
    prepared, training = parents.jobs()
    parents.clean_away(prepared.metadata.name)
    parents.settle("FineTuneJob", "faq", {"failurePolicy": {"backoffSeconds": 2}})
    assert [job.metadata.uid for job in parents.jobs()] == [training.metadata.uid]

    for stage in ("train", "merge", "verify"):
        pods.play({"app.kubernetes.io/component": stage}, succeed())
    done = parents.until("FineTuneJob", "faq", "Complete")
    parents.clean_away(*(job.metadata.name for job in parents.jobs()))
    parents.settle("FineTuneJob", "faq", {"failurePolicy": {"backoffSeconds": 3}})
    assert (
        parents.condition("FineTuneJob", "faq", "Complete")["lastTransitionTime"]
        == done["lastTransitionTime"]
    )
    assert parents.jobs() == []


def test_a_drained_node_does_not_count(parents: Parents, pods: Pods, api: client.ApiClient) -> None:
    pods.play(PREPARE, succeed())
    parents.create("FineTuneJob", "faq", job_spec(failurePolicy={"maxRestarts": 0}))
    first = until("training pods", lambda: [p for p in parents.pods(component="train") if p.spec.node_name])[
        0
    ]
    name = first.metadata.name
    body = {"metadata": {"name": name, "namespace": parents.namespace}}
    client.CoreV1Api(api).create_namespaced_pod_eviction(name, parents.namespace, body)
    until("a second attempt", lambda: any(j.metadata.name.endswith("train-1") for j in parents.jobs()))
    job = parents.get("FineTuneJob", "faq")
    assert job
    assert job["status"]["restarts"] == 0
    assert parents.condition("FineTuneJob", "faq", "Failed")["status"] == "False"


def test_suspending_deletes_the_pods_and_resuming_goes_on(parents: Parents, pods: Pods) -> None:
    pods.play(PREPARE, succeed())
    parents.create("FineTuneJob", "faq", job_spec())
    until("training pods", lambda: parents.pods(component="train"))
    parents.patch("FineTuneJob", "faq", {"scheduling": {"suspend": True}})
    until("no training pods", lambda: not parents.pods(component="train"))
    assert parents.condition("FineTuneJob", "faq", "Complete")["reason"] == "Suspended"
    until("no training Job", lambda: [j.metadata.name[-9:] for j in parents.jobs()] == ["prepare-0"])
    parents.patch("FineTuneJob", "faq", {"scheduling": {"suspend": False}})
    until("training pods again", lambda: parents.pods(component="train"))


def test_a_deadline_ends_the_job(parents: Parents, pods: Pods) -> None:
    pods.play(PREPARE, succeed())
    parents.create("FineTuneJob", "faq", job_spec(scheduling={"activeDeadlineSeconds": 3}))
    failed = parents.until("FineTuneJob", "faq", "Failed")
    assert failed["reason"] == "DeadlineExceeded"
    until("no pods", lambda: not [p for p in parents.pods(component="train") if p.status.phase == "Running"])


@pytest.mark.usefixtures("stages_succeed")
def test_a_finished_job_goes_after_its_ttl(parents: Parents) -> None:
    parents.create("FineTuneJob", "faq", job_spec(ttlSecondsAfterFinished=1))
    until("no job", lambda: parents.get("FineTuneJob", "faq") is None)
    until("no children", lambda: not parents.jobs())


def test_a_server_that_crashes_says_why(parents: Parents, pods: Pods) -> None:
    pods.play(SERVE, crash_loop(1, message="ValueError: no such model"))
    spec = {"model": {"uri": "models/tiny"}, "storage": {"claimName": "models"}, **DEPLOYMENT}
    parents.create("ModelDeployment", "base", spec)
    stalled = parents.until("ModelDeployment", "base", "Stalled")
    assert stalled["reason"] == "Crashing"
    assert "ValueError: no such model" in stalled["message"]


def test_a_model_without_its_signature_is_not_served(parents: Parents, pods: Pods) -> None:
    """What a kubelet says of a check that failed; another model's check, which passes, lets it be served."""
    key = {"publicKeyConfigMapRef": {"name": "keys", "key": "model.pub"}}
    unsigned = said("VerificationFailed", "/volume/models/tiny: not signed", "sign it")
    pods.play({**SERVE, "model": "unsigned"}, stopped_before_start(3, message=unsigned))
    for name in ("signed", "unsigned"):
        model = {"model": {"uri": f"models/{name}", "verifySignature": key}}
        labels = {"podOverrides": {"labels": {"model": name}}}
        spec = {**model, **labels, "storage": {"claimName": "models"}, **DEPLOYMENT}
        parents.create("ModelDeployment", name, spec)
    stalled = parents.until("ModelDeployment", "unsigned", "Stalled")
    assert "/volume/models/tiny: not signed" in stalled["message"]
    assert parents.condition("ModelDeployment", "unsigned", "Available")["status"] == "False"
    parents.until("ModelDeployment", "signed", "Available")
    for pod in parents.pods(component="serve"):
        (check,) = pod.spec.init_containers
        assert (check.name, check.command) == ("signature", ["finetune-convert", "check"])
        assert check.args == [f"/volume/models/{pod.metadata.labels['model']}", "--signed"]


def test_a_deployment_waits_for_its_job(parents: Parents) -> None:
    parents.create("ModelDeployment", "early", {"model": {"fineTuneJobRef": {"name": "later"}}, **DEPLOYMENT})
    waiting = parents.until("ModelDeployment", "early", "Available", "False")
    assert waiting["reason"] == "FineTuneJobNotFound"
    parents.create("FineTuneJob", "later", job_spec(scheduling={"suspend": True}))
    until(
        "the job is seen",
        lambda: (
            parents.condition("ModelDeployment", "early", "Available")["reason"] == "FineTuneJobNotComplete"
        ),
    )


@pytest.mark.usefixtures("stages_succeed")
def test_a_replaced_job_rolls_its_deployment(parents: Parents) -> None:
    parents.create("FineTuneJob", "faq", job_spec())
    parents.create("ModelDeployment", "faq", {"model": {"fineTuneJobRef": {"name": "faq"}}, **DEPLOYMENT})
    parents.until("ModelDeployment", "faq", "Available")
    before = parents.get("ModelDeployment", "faq")
    parents.delete("FineTuneJob", "faq")
    until("no job", lambda: parents.get("FineTuneJob", "faq") is None)
    # What serves the old model goes on serving it until there is another.
    parents.create("FineTuneJob", "faq", job_spec(training={"steps": 20}))
    parents.until("FineTuneJob", "faq", "Complete")
    assert before

    def other_model() -> bool:
        now = parents.get("ModelDeployment", "faq")
        return bool(now and now["status"].get("modelPath") not in (None, before["status"]["modelPath"]))

    until("another model", other_model)
    parents.until("ModelDeployment", "faq", "Available")


def test_a_child_that_the_api_refuses_is_named(parents: Parents, api: client.ApiClient) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"count/jobs.batch": "0"}}}
    client.CoreV1Api(api).create_namespaced_resource_quota(parents.namespace, quota)
    until(
        "the quota",
        lambda: client.CoreV1Api(api).read_namespaced_resource_quota("none", parents.namespace).status.hard,
    )
    parents.create("FineTuneJob", "faq", job_spec())
    stalled = parents.until("FineTuneJob", "faq", "Stalled")
    assert stalled["reason"] == "ChildRefused"
    assert "exceeded quota" in stalled["message"]
    client.CoreV1Api(api).delete_namespaced_resource_quota("none", parents.namespace)
    parents.until("FineTuneJob", "faq", "Stalled", "False")


def test_what_belongs_to_somebody_else_is_left_alone(parents: Parents, api: client.ApiClient) -> None:
    mine = {"metadata": {"name": "base"}, "spec": {"ports": [{"name": "http", "port": 9}]}}
    client.CoreV1Api(api).create_namespaced_service(parents.namespace, mine)
    spec = {"model": {"uri": "models/tiny"}, "storage": {"claimName": "models"}, **DEPLOYMENT}
    parents.create("ModelDeployment", "base", spec)
    stalled = parents.until("ModelDeployment", "base", "Stalled")
    assert stalled["message"].startswith("Service base exists and is not this object's")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        pytest.param({"storage": {"claimName": "absent"}}, '"absent" not found', id="no such claim"),
        pytest.param(
            {"workers": {"device": "cpu", "podOverrides": {"nodeSelector": {"disk": "none"}}}},
            "didn't match Pod's node affinity/selector",
            id="no such node",
        ),
    ],
)
def test_what_a_pod_waits_for_is_said(
    parents: Parents, pods: Pods, changes: dict[str, Any], why: str
) -> None:
    pods.play(PREPARE, succeed())
    parents.create("FineTuneJob", "faq", job_spec(**changes))
    until("the reason", lambda: why in parents.condition("FineTuneJob", "faq", "Complete").get("message", ""))
    job = parents.get("FineTuneJob", "faq")
    assert job
    assert job["status"]["phase"] == "Pending"


def test_an_image_that_cannot_be_pulled_is_named(parents: Parents, pods: Pods) -> None:
    pods.play(PREPARE, waiting("ImagePullBackOff", "no such tag"))
    parents.create("FineTuneJob", "faq", job_spec())
    until(
        "the reason",
        lambda: (
            "ImagePullBackOff: no such tag"
            in parents.condition("FineTuneJob", "faq", "Prepared").get("message", "")
        ),
    )


def test_what_a_queue_holds_back_is_said(parents: Parents, pods: Pods, api: client.ApiClient) -> None:
    """As Kueue does it: by suspending the Job."""
    pods.play(PREPARE, succeed())
    parents.create("FineTuneJob", "faq", job_spec())
    name = until("a Job", lambda: [j.metadata.name for j in parents.jobs() if "train" in j.metadata.name])[0]
    client.BatchV1Api(api).patch_namespaced_job(name, parents.namespace, {"spec": {"suspend": True}})
    until(
        "the reason",
        lambda: (
            "the queue has not admitted its Job"
            in parents.condition("FineTuneJob", "faq", "Trained").get("message", "")
        ),
    )
    client.BatchV1Api(api).patch_namespaced_job(name, parents.namespace, {"spec": {"suspend": False}})
    until("training pods", lambda: parents.pods(component="train"))
