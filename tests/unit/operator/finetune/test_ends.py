"""What does not start, and what ends: jobs too large, suspension, other runs, time to live, deadlines."""

from datetime import timedelta
from typing import Any

import pytest
from fake_cluster import NOW, FakeCluster, JobBuilder, names

from finetune_operator.core.plan import Event
from finetune_operator.finetune.children.names import owner_of

TOO_LARGE = {"flavor": "671B_lora", "workers": {"gpusPerNode": 8}, "storage": {"size": "5Ti"}}


def test_nothing_is_made_for_a_job_that_does_not_fit_until_it_does(job: JobBuilder) -> None:
    cluster = FakeCluster(job(**TOO_LARGE, deployment={"tensorParallelSize": 8}))

    plan = cluster.reconcile()

    assert plan.apply == plan.delete == ()
    message = (
        "Training needs 269 GB of the 141 GB of each GPU (frozen base in bfloat16: 168 GB): "
        "set workers.nodes to 8"
    )
    assert plan.events == (Event(type="Warning", reason="TrainingNeedsMoreMemory", message=message),)
    assert plan.status["phase"] == "Failed"
    conditions = {c["type"]: (c["status"], c["reason"], c["message"]) for c in plan.status["conditions"]}
    assert conditions["Fits"] == ("False", "TrainingNeedsMoreMemory", message)
    assert conditions["Failed"] == ("True", "TrainingNeedsMoreMemory", message)
    see_failed = "Waiting alone does not help: the condition Failed says why"
    assert conditions["Stalled"] == ("True", "TrainingNeedsMoreMemory", see_failed)
    cluster.update(workers={"gpusPerNode": 8, "nodes": 8})
    assert [child["kind"] for child in cluster.reconcile().apply] == [
        *("PersistentVolumeClaim", "ConfigMap", "Service", "NetworkPolicy", "Job", "ModelDeployment")
    ]


def test_what_runs_is_not_stopped_by_arithmetic(job: JobBuilder) -> None:
    cluster = FakeCluster(job(**TOO_LARGE | {"workers": {"gpusPerNode": 8, "gpuMemory": "999G"}}))
    cluster.reconcile()
    cluster.update(workers={"gpusPerNode": 8})

    plan = cluster.reconcile()

    assert plan.status["phase"] == "Pending"
    assert {c["type"]: c["status"] for c in plan.status["conditions"]}["Fits"] == "False"
    assert plan.delete == ()


def test_suspension_deletes_the_job_and_resumption_makes_it_again(job: JobBuilder) -> None:
    cluster = FakeCluster(job())
    cluster.reconcile()
    cluster.end(0)
    made = names(cluster.reconcile())

    cluster.update(scheduling={"suspend": True})
    suspended = cluster.reconcile()
    cluster.update(scheduling={"suspend": False})

    assert [f"{ref.kind}/{ref.name}" for ref in suspended.delete] == made
    assert suspended.status["phase"] == "Suspended"
    assert names(cluster.reconcile()) == made


def test_children_of_another_run_go(job: JobBuilder) -> None:
    cluster = FakeCluster(job())
    old = cluster.reconcile().status["run"]
    (run_file,) = (ref.name for ref in cluster.children if ref.kind == "ConfigMap")
    cluster.update(training={"steps": 11})

    plan = cluster.reconcile()

    assert {ref.name for ref in plan.delete} == {f"faq-{old}", f"faq-{old}-prepare-0", run_file}
    assert len(plan.apply) == 4


@pytest.mark.parametrize("code", [pytest.param(0, id="complete"), pytest.param(2, id="failed")])
def test_a_finished_job_is_deleted_when_its_time_is_over(job: JobBuilder, code: int) -> None:
    cluster = FakeCluster(job(ttlSecondsAfterFinished=60))
    cluster.reconcile()
    while cluster.active:
        cluster.end(code)
        assert not cluster.reconcile().delete

    assert cluster.reconcile().requeue_after == 60
    assert cluster.reconcile(NOW + timedelta(seconds=59)).requeue_after == 1
    assert not cluster.deleted_parent
    cluster.reconcile(NOW + timedelta(seconds=60))
    assert cluster.deleted_parent


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"deployment": {"device": "cpu"}}, id="an endpoint"),
        pytest.param({"storage": {"size": "1Gi"}}, id="a claim with the model"),
    ],
)
def test_no_time_to_live_takes_what_serves_or_holds_a_model(job: JobBuilder, spec: dict[str, Any]) -> None:
    """The API refuses both together; an object may be older than that rule."""
    old = job(**spec)
    cluster = FakeCluster(
        old.model_copy(update={"spec": old.spec.model_copy(update={"ttl_seconds_after_finished": 60})})
    )
    cluster.reconcile()
    while cluster.active:
        cluster.end(0)
        cluster.reconcile()
    assert cluster.reconcile(NOW + timedelta(days=1)).delete == ()
    assert not cluster.deleted_parent


def test_a_job_that_is_not_finished_has_no_time_to_live(job: JobBuilder) -> None:
    cluster = FakeCluster(job(ttlSecondsAfterFinished=60))
    cluster.reconcile()
    assert cluster.reconcile(NOW + timedelta(days=1)).delete == ()
    cluster.update(scheduling={"suspend": True})
    cluster.reconcile()
    assert cluster.reconcile(NOW + timedelta(days=2)).delete == ()


def test_every_child_goes_with_the_job(job: JobBuilder) -> None:
    cluster = FakeCluster(job(storage={"size": "1Gi"}, export={"shards": 2}, deployment={"device": "cpu"}))
    cluster.reconcile()
    while cluster.active:
        cluster.end(0)
        cluster.reconcile()
    assert len(cluster.children) == 10
    owners = [child["metadata"]["ownerReferences"] for child in cluster.children.values()]
    assert owners == 10 * [[owner_of(cluster.job).reference]]


def test_the_deadline_of_an_attempt_is_what_is_left(job: JobBuilder) -> None:
    cluster = FakeCluster(job(scheduling={"activeDeadlineSeconds": 600}))
    first = cluster.reconcile().apply[-1]
    assert first["spec"]["activeDeadlineSeconds"] == 600


@pytest.mark.parametrize(
    ("phases", "again"),
    [
        pytest.param([], True, id="no pod was made"),
        pytest.param(["Pending"], True, id="its pod waits"),
        pytest.param(["Running"], False, id="its pod runs"),
        pytest.param(["Pending", "Running"], False, id="one of several runs"),
    ],
)
def test_a_template_that_changes_before_anything_has_started_is_applied(
    job: JobBuilder, phases: list[str], again: bool
) -> None:
    cluster = FakeCluster(job())
    made = cluster.reconcile().apply[-1]
    cluster.pods(*phases)
    assert cluster.reconcile().delete == ()
    cluster.update(scheduling={"priorityClassName": "high"})

    deleted = [ref.name for ref in cluster.reconcile().delete]

    assert deleted == ([made["metadata"]["name"]] if again else [])
    if again:
        template = cluster.reconcile().apply[-1]["spec"]["template"]
        assert template["spec"]["priorityClassName"] == "high"
