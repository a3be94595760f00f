"""Whatever an object is called, every Kubernetes from 1.31 on takes the names of what is made for it."""

from typing import Any

import pytest
from fake_cluster import NOW, FakeCluster
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes_names import wrong_names

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.formats import OBJECT_NAME_PATTERN
from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest
from finetune_operator.core.outcome import Outcome
from finetune_operator.finetune.children.job import Attempt, desired_job
from finetune_operator.finetune.children.names import names_of
from finetune_operator.finetune.stages import stages_of
from finetune_operator.serving import Observed
from finetune_operator.serving.reconcile import reconcile as reconcile_deployment

OBJECT_NAMES = st.from_regex(OBJECT_NAME_PATTERN.replace("$", r"\Z"), fullmatch=True).filter(
    lambda name: len(name) <= 253
) | st.sampled_from(["a", "0", "7b.v2", "a" * 253, "0." * 126 + "0", "a" + "-" * 61 + "a", "a.-".strip(".-")])
JOBS: dict[str, dict[str, Any]] = {
    "small": {},
    "sharded and pushed": {
        "export": {"shards": 64, "push": {"uri": "oci://registry.example/models/faq:v1"}},
        "workers": {"nodes": 1024, "gpusPerNode": 8},
        "scheduling": {"queueName": "q" * 63},
    },
    "with a claim and an endpoint": {
        "storage": {"size": "1Gi", "storageClassName": "x" * 253},
        "deployment": {"device": "cpu"},
    },
}


def parent(kind: str, name: str, spec: dict[str, Any]) -> Manifest:
    metadata = {"name": name, "namespace": "n" * 63, "uid": "u", "generation": 1}
    return {"apiVersion": "finetune.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def children_of_a_job(name: str, spec: dict[str, Any]) -> list[Manifest]:
    """All that is made for it to the end, and the Jobs of attempts that come after many."""
    base: dict[str, Any] = {
        "model": {"uri": "models/tiny-base"},
        "flavor": "tiny_lora",
        "dataset": {"uri": "datasets/faq.jsonl"},
        "training": {"steps": 10},
        "workers": {"device": "cpu"},
        "storage": {"claimName": "shared"},
    }
    job = FineTuneJob.model_validate(parent("FineTuneJob", name, base | spec))
    cluster, made = FakeCluster(job), []
    for _ in range(20):
        plan = cluster.reconcile()
        made += plan.apply
        if cluster.active is None:
            break
        run = plan.status["run"]
        cluster.end(0)
    names = names_of(job, run)
    late = (Attempt(stage=stage, number=1000, deadline_seconds=None) for stage in stages_of(job.spec))
    return [*made, *(desired_job(job, names, attempt, Config()) for attempt in late)]


@pytest.mark.parametrize("spec", JOBS.values(), ids=JOBS.keys())
def test_jobs(spec: dict[str, Any]) -> None:
    seen: set[str] = set()

    @settings(max_examples=15, deadline=None)
    @given(OBJECT_NAMES)
    def every_name(name: str) -> None:
        children = children_of_a_job(name, spec)
        seen.update(child["kind"] for child in children)
        assert [wrong for child in children for wrong in wrong_names(child)] == []

    every_name()
    assert {"Job", "Service", "ConfigMap", "NetworkPolicy"} <= seen


@settings(max_examples=20, deadline=None)
@given(OBJECT_NAMES, OBJECT_NAMES)
def test_deployments(name: str, job: str) -> None:
    spec = {
        "model": {"fineTuneJobRef": {"name": job}},
        "device": "cpu",
        "replicas": 3,
        "podOverrides": {"labels": {"team": "x" * 63}},
    }
    deployment = ModelDeployment.model_validate(parent("ModelDeployment", name, spec))
    ready = Outcome(claim="c" * 253, model_path="runs/n/faq/3f2a9c1b/merged", complete=True)
    plan = reconcile_deployment(deployment, Observed(jobs={job: ready}), NOW, Config())
    assert {child["kind"] for child in plan.apply} == {
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
    }
    assert [wrong for child in plan.apply for wrong in wrong_names(child)] == []


@pytest.mark.parametrize(
    ("kind", "changes", "wrong"),
    [
        pytest.param("Service", {"name": "7b"}, "Service name: '7b'", id="a Service begins with a letter"),
        pytest.param(
            "Job", {"name": "a" * 59}, "Job name: " + repr("a" * 59), id="a Job's pods have an index"
        ),
        pytest.param("Job", {"name": "a.b"}, "Job name: 'a.b'", id="pods are host names"),
        pytest.param(
            "Job",
            {"labels": {"app": "a" * 64}},
            f"Job.metadata.labels app: {'a' * 64!r}",
            id="a label's value",
        ),
        pytest.param("Job", {"labels": {"a/": "x"}}, "Job.metadata.labels: ''", id="a label's key"),
    ],
)
def test_what_is_wrong_is_found(kind: str, changes: Manifest, wrong: str) -> None:
    assert wrong_names({"kind": kind, "metadata": {"name": "a", **changes}}) == [wrong]
