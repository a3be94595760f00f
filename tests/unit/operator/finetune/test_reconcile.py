"""Whole plans, and that a plan that was applied leaves nothing to do."""

from datetime import timedelta
from typing import Any

import pytest
from fake_cluster import END, NOW, FakeCluster, JobBuilder, names
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.plan import Event, Plan
from finetune_operator.finetune import ObservedProgress
from finetune_operator.finetune.children.names import names_of


def test_the_life_of_a_job(job: JobBuilder) -> None:
    cluster = FakeCluster(job(storage={"size": "10Gi"}))
    first = cluster.reconcile()
    run = first.status["run"]

    assert names(first) == [
        "PersistentVolumeClaim/faq-storage",
        f"ConfigMap/{names_of(cluster.job, run).config_map}",
        f"Service/faq-{run}",
        f"NetworkPolicy/faq-{run}",
        f"Job/faq-{run}-prepare-0",
    ]
    assert first.events == (Event(type="Normal", reason="Preparing", message="The prepare stage runs"),)
    applied = []
    for _ in range(4):
        cluster.end(0)
        applied += names(cluster.reconcile())
    assert applied == [f"Job/faq-{run}-train-0", f"Job/faq-{run}-merge-0", f"Job/faq-{run}-verify-0"]
    status = cluster.job.to_dict()["status"]
    assert status["phase"] == "Complete"
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "Fits": "True",
        "Prepared": "True",
        "Trained": "True",
        "Converted": "True",
        "Verified": "True",
        "Complete": "True",
        "Failed": "False",
        "Reconciling": "False",
        "Stalled": "False",
    }


def test_the_whole_plan_of_a_failure(job: JobBuilder) -> None:
    cluster = FakeCluster(job())
    run = cluster.reconcile().status["run"]
    cluster.end(2)

    message = "It broke"
    needs = (
        "Training needs 0.2 GB of host memory of each process; "
        "Conversion needs 1.5 GB of host memory of each process; "
        "Storage needs 56 MB of the volume, and how much there is is not known"
    )
    conditions = [
        ("Fits", "Unknown", "NotCompared", needs),
        ("Prepared", "False", "Failed", message),
        ("Trained", "False", "Pending", "Waits for the prepare stage"),
        ("Converted", "False", "Pending", "Waits for the train stage"),
        ("Verified", "False", "Pending", "Waits for the merge stage"),
        ("Complete", "False", "Failed", "The prepare stage failed"),
        ("Failed", "True", "ConfigurationInvalid", message),
        ("Reconciling", "False", "Failed", "No further attempt is made"),
        (
            "Stalled",
            "True",
            "ConfigurationInvalid",
            "Waiting alone does not help: the condition Failed says why",
        ),
    ]
    assert cluster.reconcile() == Plan(
        status={
            "observedGeneration": 1,
            "phase": "Failed",
            "run": run,
            "stage": "prepare",
            "restarts": 1,
            "startTime": END,
            "conditions": [
                {
                    "type": type_,
                    "status": status,
                    "observedGeneration": 1,
                    "lastTransitionTime": END,
                    "reason": reason,
                    "message": text,
                }
                for type_, status, reason, text in conditions
            ],
        },
        events=(Event(type="Warning", reason="ConfigurationInvalid", message=message),),
    )


def test_no_two_conditions_repeat_a_message(job: JobBuilder) -> None:
    """What goes on, why it failed, what is left, and whether a person is needed are four things."""
    cluster = FakeCluster(job())

    def said() -> dict[str, tuple[str, str]]:
        conditions = {
            c["type"]: (c["reason"], c["message"]) for c in cluster.reconcile().status["conditions"]
        }
        return {name: conditions[name] for name in ("Complete", "Failed", "Reconciling", "Stalled")}

    assert said() == {
        "Complete": ("Preparing", "The prepare stage runs"),
        "Failed": ("NoFailure", "No attempt has failed"),
        "Reconciling": ("Preparing", "Stages left: prepare, train, merge, verify"),
        "Stalled": ("Preparing", "Nobody has to step in"),
    }
    cluster.end(1)
    assert said() == {
        "Complete": ("BackingOff", "The prepare stage failed and is tried again at 2026-01-01T00:00:10Z"),
        "Failed": ("BackingOff", "Restarts taken: 1 of 3: It broke"),
        "Reconciling": ("BackingOff", "Stages left: prepare, train, merge, verify"),
        "Stalled": ("BackingOff", "Nobody has to step in"),
    }


def test_progress_is_told_and_stays_between_stages(job: JobBuilder) -> None:
    cluster = FakeCluster(job())
    cluster.reconcile()
    told = cluster.reconcile(progress=ObservedProgress(stage="prepare", step=3, total_steps=10))
    assert told.status["progress"] == {"stage": "prepare", "step": 3, "totalSteps": 10}
    assert "progress" not in cluster.reconcile().status
    cluster.reconcile(progress=ObservedProgress(stage="prepare", step=10))
    cluster.end(0)
    assert cluster.reconcile().status["progress"] == {"stage": "prepare", "step": 10}


@pytest.mark.parametrize(
    ("export", "conditions"),
    [
        pytest.param({"verify": False}, ["True", "True", "True", "False"], id="no gate"),
        pytest.param({"adapterOnly": True}, ["True", "True", "False", "False"], id="adapter only"),
    ],
)
def test_fewer_stages(job: JobBuilder, export: dict[str, Any], conditions: list[str]) -> None:
    cluster = FakeCluster(job(export=export))
    cluster.reconcile()
    while cluster.active:
        cluster.end(0)
        cluster.reconcile()
    status = cluster.job.to_dict()["status"]
    assert status["phase"] == "Complete"
    assert [c["status"] for c in status["conditions"][1:5]] == conditions


def test_a_push_comes_last_and_the_status_tells_where_to(job: JobBuilder) -> None:
    uri = "s3://models/faq"
    cluster = FakeCluster(job(export={"push": {"uri": uri, "credentialsSecretRef": {"name": "bucket"}}}))
    assert "pushedTo" not in cluster.reconcile().status
    made = []
    while cluster.active:
        cluster.end(0)
        made += cluster.reconcile().apply
    env = {e["name"]: e for e in made[-1]["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["AWS_ACCESS_KEY_ID"]["valueFrom"]["secretKeyRef"] == {
        "name": "bucket",
        "key": "AWS_ACCESS_KEY_ID",
    }
    assert "HF_HUB_OFFLINE" not in env
    status = cluster.job.to_dict()["status"]
    assert status["pushedTo"] == uri
    assert ("Pushed", "True") in [(c["type"], c["status"]) for c in status["conditions"]]


def test_where_a_model_goes_is_no_part_of_the_run(job: JobBuilder) -> None:
    runs = [
        FakeCluster(job(export=export)).reconcile().status["run"]
        for export in ({}, {"push": {"uri": "hf://a/b"}})
    ]
    assert runs[0] == runs[1]


def test_shards_merge_side_by_side_and_one_process_completes(job: JobBuilder) -> None:
    cluster = FakeCluster(job(export={"shards": 4}))
    run = cluster.reconcile().status["run"]
    cluster.end(0)
    cluster.reconcile()
    cluster.end(0)
    plan = cluster.reconcile()

    (shards,) = plan.apply
    assert shards["metadata"]["name"] == f"faq-{run}-merge-shards-0"
    assert (shards["spec"]["completions"], shards["spec"]["parallelism"]) == (4, 4)
    (container,) = shards["spec"]["template"]["spec"]["containers"]
    assert [*container["command"], *container["args"][-2:]] == [
        *("finetune-convert", "merge", "--shard", "$(SHARD_INDEX)/4")
    ]
    converted = next(c for c in plan.status["conditions"] if c["type"] == "Converted")
    assert converted["message"] == "Waits for the merge-shards stage"
    cluster.end(0)
    assert names(cluster.reconcile()) == [f"Job/faq-{run}-merge-0"]


def test_more_shards_do_not_train_again(job: JobBuilder) -> None:
    cluster = FakeCluster(job())
    run = cluster.reconcile().status["run"]
    cluster.end(0)
    cluster.reconcile()

    cluster.update(export={"shards": 4})
    plan = cluster.reconcile()

    assert names(plan) == [f"ConfigMap/{names_of(cluster.job, run).config_map}"]
    assert (plan.delete, plan.status["run"]) == ((), run)
    cluster.end(0)
    assert names(cluster.reconcile()) == [f"Job/faq-{run}-merge-shards-0"]


HAPPENINGS = st.lists(
    st.sampled_from(["0", "2", "11", "disrupted", "suspend", "resume", "change", "wait"]), max_size=12
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(happenings=HAPPENINGS)
def test_an_applied_plan_leaves_nothing_to_do(job: JobBuilder, happenings: list[str]) -> None:
    cluster, now = FakeCluster(job(storage={"size": "1Gi"})), NOW
    cluster.reconcile(now)
    for number, happening in enumerate(happenings):
        now += timedelta(seconds=1)
        match happening:
            case "suspend" | "resume":
                cluster.update(scheduling={"suspend": happening == "suspend"})
            case "change":
                cluster.update(training={"steps": 11 + number})
            case "wait":
                now += timedelta(hours=1)
            case code if cluster.active:
                disrupted = code == "disrupted"
                cluster.end(143 if disrupted else int(code), disrupted=disrupted)
        first = cluster.reconcile(now)
        again = cluster.reconcile(now)
        assert (again.apply, again.delete, again.events) == ((), (), ())
        assert again.status == first.status
        forgotten = FakeCluster(FineTuneJob.model_validate({**cluster.job.to_dict(), "status": None}))
        forgotten.children = dict(cluster.children)
        anew = forgotten.reconcile(now)
        assert [(c["type"], c["status"], c["message"]) for c in anew.status["conditions"]] == [
            (c["type"], c["status"], c["message"]) for c in again.status["conditions"]
        ]
        assert (anew.apply, anew.delete) == ((), ())
