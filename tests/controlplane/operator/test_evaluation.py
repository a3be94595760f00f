"""A model that falls short of its evaluation, on a real API server with played pods."""

import json
from typing import Any

import pytest
from cluster.pods import Pods, fail, succeed
from kubernetes import client
from parents import DEPLOYMENT, Parents, job_spec
from waiting import until

PUSHED = "oci://registry.example/faq:v{}"
TOO_LATE = [
    ({"model": {"verify": False}}, "verify cannot change once the model is trained"),
    ({"export": {"shards": 2}}, "shards cannot change once the adapter is merged"),
    ({"evaluation": {"require": {"faq": ">= 0.4"}}}, "require cannot change once the model is evaluated"),
]
SHORT = {"reason": "EvaluationFailed", "message": "exact_match 0.4", "remedy": "Train longer"}


def test_a_model_that_falls_short_is_neither_pushed_nor_served(
    parents: Parents, pods: Pods, api: client.ApiClient
) -> None:
    """Until less is required of it. What is asked cannot change; where it is pushed to can."""
    for stage in ("prepare", "train", "merge", "verify", "push"):
        pods.play({"app.kubernetes.io/component": stage}, succeed())
    pods.play({"app.kubernetes.io/component": "evaluate"}, fail(3, message=json.dumps(SHORT)))
    task = {"name": "faq", "uri": "evaluations/faq.jsonl", "metric": "exact_match"}
    spec = job_spec(
        evaluation={"tasks": [task], "require": {"faq": ">= 0.9"}},
        export={"push": {"uri": "oci://registry.example/faq:v0"}},
        deployment=DEPLOYMENT,
    )
    # Another one starts from its adapter: waits for it, and trains though that model is not released.
    source = {"lora": {"from": {"fineTuneJobRef": {"name": "faq"}}}}
    parents.create("FineTuneJob", "second", job_spec(**source))
    assert parents.until("FineTuneJob", "second", "Reconciling")["reason"] == "FineTuneJobNotFound"
    parents.create("FineTuneJob", "faq", spec)
    parents.patch("FineTuneJob", "faq", {"export": {"push": {"uri": PUSHED.format(1)}}})
    failed = parents.until("FineTuneJob", "faq", "Failed")
    assert (failed["reason"], failed["message"]) == ("EvaluationFailed", "exact_match 0.4. Train longer")
    stages = {job.metadata.labels["app.kubernetes.io/component"] for job in parents.jobs()}
    assert stages == {"prepare", "train", "merge", "verify", "evaluate"}
    assert parents.until("ModelDeployment", "faq", "Stalled")["reason"] == "FineTuneJobFailed"
    assert not parents.pods(component="serve")
    parents.until("FineTuneJob", "second", "Complete")
    other = job_spec(lora={**source["lora"], "rank": 4})
    parents.create("FineTuneJob", "third", other)
    assert parents.until("FineTuneJob", "third", "Stalled")["reason"] == "AdapterMismatch"
    with pytest.raises(client.ApiException, match="tasks cannot change once the job has started"):
        parents.patch("FineTuneJob", "faq", {"evaluation": {"tasks": [{**task, "limit": 3}]}})
    told = {"task": "faq", "metric": "exact_match", "base": 0.0, "tuned": 0.4, "rows": 60}
    pods.forget()
    for stage in ("evaluate", "push"):
        pods.play({"app.kubernetes.io/component": stage}, succeed(message=json.dumps({"evaluation": [told]})))
    parents.patch("FineTuneJob", "faq", {"evaluation": {"require": {"faq": ">= 0.3"}}})
    parents.until("FineTuneJob", "faq", "Complete")
    status = (parents.get("FineTuneJob", "faq") or {})["status"]
    assert (status["evaluation"], status["pushedTo"]) == ([told], PUSHED.format(1))
    read = [run_file_of(api, job)["evaluation"]["require"] for job in of_stage(parents, "evaluate")]
    assert read == [{"faq": ">= 0.9"}, {"faq": ">= 0.3"}]

    for late, said in TOO_LATE:
        with pytest.raises(client.ApiException, match=said):
            parents.patch("FineTuneJob", "faq", late)
    parents.patch("FineTuneJob", "faq", {"export": {"push": {"uri": PUSHED.format(2)}}})
    until("another push", lambda: parents.pushed_to("faq") == PUSHED.format(2))
    pushed = [run_file_of(api, job)["export"]["push"]["uri"] for job in of_stage(parents, "push")]
    assert pushed == [PUSHED.format(1), PUSHED.format(2)]
    assert (parents.get("FineTuneJob", "faq") or {})["status"]["modelPath"] == status["modelPath"]


def of_stage(parents: Parents, stage: str) -> list[client.V1Job]:
    return [job for job in parents.jobs() if f"-{stage}-" in job.metadata.name]


def run_file_of(api: client.ApiClient, job: client.V1Job) -> Any:
    """What the pods of a Job read."""
    (mounted,) = (v.config_map.name for v in job.spec.template.spec.volumes if v.name == "run")
    found = client.CoreV1Api(api).read_namespaced_config_map(mounted, job.metadata.namespace)
    return json.loads(found.data["run.json"])
