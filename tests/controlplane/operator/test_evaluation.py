"""A model that falls short of its evaluation, on a real API server with played pods."""

import json

import pytest
from cluster.commands import Run
from cluster.pods import Pods, fail, succeed
from kubernetes import client
from parents import DEPLOYMENT, Parents, job_spec

SHORT = {"reason": "EvaluationFailed", "message": "exact_match 0.4", "remedy": "Train longer"}


def test_a_model_that_falls_short_is_neither_pushed_nor_served(
    parents: Parents, pods: Pods, finetune: Run
) -> None:
    """Until less is required of it. What is asked cannot change."""
    for stage in ("prepare", "train", "merge", "verify", "push"):
        pods.play({"app.kubernetes.io/component": stage}, succeed())
    pods.play({"app.kubernetes.io/component": "evaluate"}, fail(3, message=json.dumps(SHORT)))
    task = {"name": "faq", "uri": "evaluations/faq.jsonl", "metric": "exact_match"}
    spec = job_spec(
        evaluation={"tasks": [task], "require": {"faq": ">= 0.9"}},
        export={"push": {"uri": "oci://registry.example/faq:v1"}},
        deployment=DEPLOYMENT,
    )
    # Another one starts from its adapter: waits for it, and trains though that model is not released.
    source = {"lora": {"from": {"fineTuneJobRef": {"name": "faq"}}}}
    parents.create("FineTuneJob", "second", job_spec(**source))
    assert parents.until("FineTuneJob", "second", "Reconciling")["reason"] == "FineTuneJobNotFound"
    parents.create("FineTuneJob", "faq", spec)
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
    parents.patch("FineTuneJob", "faq", {"evaluation": {"require": {"faq": ">= 0.3"}}})
    told = {"task": "faq", "metric": "exact_match", "base": 0.0, "tuned": 0.4, "rows": 60}
    pods.forget()
    for stage in ("evaluate", "push"):
        pods.play({"app.kubernetes.io/component": stage}, succeed(message=json.dumps({"evaluation": [told]})))
    finetune("retry", "faq", "--namespace", parents.namespace)
    parents.until("FineTuneJob", "faq", "Complete")
    assert (parents.get("FineTuneJob", "faq") or {})["status"]["evaluation"] == [told]
