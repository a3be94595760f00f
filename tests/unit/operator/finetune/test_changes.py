"""Fields that may change of a job that has started: who heeds a change; what is said where nobody does."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from fake_cluster import FakeCluster, JobBuilder

from finetune_operator.api.what_may_change import WHAT_MAY_CHANGE, Change
from finetune_operator.core.conditions import condition_of
from finetune_operator.core.objects import Manifest
from finetune_operator.core.run import build_run_file
from finetune_operator.finetune.settings import FIELDS, settings_of
from finetune_operator.finetune.stages import Stage

TASK = {"name": "faq", "uri": "evaluations/faq.jsonl", "metric": "exact_match"}
PUSH = {"uri": "s3://bucket/one"}
SPEC: dict[str, Any] = {
    "export": {"shards": 2, "push": PUSH},
    "evaluation": {"tasks": [TASK], "require": {"faq": ">= 0.9"}},
}
MODEL = {"uri": "models/tiny-base"}
Read = Callable[[Manifest], Any]

# The stage that reads it; the change; what run.json says then.
CHANGES = [
    pytest.param(
        "train", {"model": {**MODEL, "verify": False}}, lambda r: r["model"]["verify"], False, id="verify"
    ),
    pytest.param(
        "merge-shards",
        {"export": {"shards": 3, "push": PUSH}},
        lambda r: r["export"]["shards"],
        3,
        id="shards",
    ),
    pytest.param(
        "evaluate",
        {"evaluation": {"tasks": [TASK], "require": {"faq": ">= 0.3"}}},
        lambda r: r["evaluation"]["require"],
        {"faq": ">= 0.3"},
        id="require",
    ),
    pytest.param(
        "push",
        {"export": {"shards": 2, "push": {"uri": "s3://bucket/two"}}},
        lambda r: r["export"]["push"]["uri"],
        "s3://bucket/two",
        id="push",
    ),
]


def at(job: JobBuilder, stage: str, **spec: Any) -> FakeCluster:
    """A job whose stage has a Job, with no pod yet."""
    cluster = FakeCluster(job(**{**SPEC, **spec}))
    cluster.reconcile()
    while component(cluster) != stage:
        cluster.end(0)
        cluster.reconcile()
    return cluster


def component(cluster: FakeCluster) -> str | None:
    active = cluster.active
    return active["metadata"]["labels"]["app.kubernetes.io/component"] if active else None


def run_file_of(cluster: FakeCluster) -> Manifest:
    """What the Job that runs mounts; it must be there."""
    assert cluster.active
    volumes = cluster.active["spec"]["template"]["spec"]["volumes"]
    (name,) = (v["configMap"]["name"] for v in volumes if v["name"] == "run")
    (mounted,) = (c for ref, c in cluster.children.items() if (ref.kind, ref.name) == ("ConfigMap", name))
    found: Manifest = json.loads(mounted["data"]["run.json"])
    return found


def message(cluster: FakeCluster, name: str) -> str:
    return str(condition_of(cluster.job.to_dict()["status"], name)["message"])


def settle(cluster: FakeCluster) -> None:
    """A Job that is deleted is gone before it is made again."""
    cluster.reconcile()
    cluster.reconcile()


@pytest.mark.parametrize(("stage", "change", "read", "value"), CHANGES)
def test_a_stage_that_has_not_begun_heeds_it(
    job: JobBuilder, stage: str, change: dict[str, Any], read: Read, value: Any
) -> None:
    for waits in ("prepare", stage):
        cluster = at(job, waits)
        cluster.update(**change)
        settle(cluster)
        while component(cluster) != stage:
            cluster.end(0)
            cluster.reconcile()
        assert read(run_file_of(cluster)) == value


@pytest.mark.parametrize(("stage", "change", "read", "value"), CHANGES)
def test_one_that_runs_goes_on_and_says_so_and_the_next_attempt_heeds_it(
    job: JobBuilder, stage: str, change: dict[str, Any], read: Read, value: Any
) -> None:
    cluster = at(job, stage)
    cluster.pods("Running")
    cluster.reconcile()
    begun = cluster.active
    cluster.update(**change)
    settle(cluster)
    assert cluster.active is begun
    assert read(run_file_of(cluster)) != value
    assert f"; {FIELDS[Stage(stage)]} has changed since it began" in message(cluster, "Complete")
    cluster.end(3)
    plan = cluster.reconcile()
    assert (component(cluster), plan.status["restarts"]) == (stage, 0)
    assert read(run_file_of(cluster)) == value
    assert "has changed" not in message(cluster, "Complete")


@pytest.mark.parametrize(("stage", "change", "read", "value"), CHANGES)
def test_a_failure_of_the_old_value_is_tried_again(
    job: JobBuilder, stage: str, change: dict[str, Any], read: Read, value: Any
) -> None:
    cluster = at(job, stage)
    cluster.end(3)
    assert cluster.reconcile().status["phase"] == "Failed"
    cluster.update(**change)
    cluster.reconcile()
    assert (component(cluster), read(run_file_of(cluster))) == (stage, value)
    cluster.end(3)
    assert cluster.reconcile().status["phase"] == "Failed"


def test_a_suspended_job_makes_no_job_for_it(job: JobBuilder) -> None:
    cluster = at(job, "push", scheduling={"suspend": False})
    cluster.end(3)
    cluster.reconcile()
    cluster.update(export={"shards": 2, "push": {"uri": "s3://bucket/two"}}, scheduling={"suspend": True})
    assert cluster.reconcile().status["phase"] == "Suspended"
    assert cluster.active is None


@pytest.mark.parametrize(
    ("stage", "change", "name"),
    [
        pytest.param("train", CHANGES[0].values[1], "Trained", id="verify"),
        pytest.param("evaluate", CHANGES[2].values[1], "Evaluated", id="require"),
    ],
)
def test_what_came_too_late_is_said_of_what_is_done(
    job: JobBuilder, stage: str, change: dict[str, Any], name: str
) -> None:
    cluster = at(job, stage)
    cluster.pods("Running")
    cluster.reconcile()
    cluster.update(**change)
    cluster.reconcile()
    cluster.end(0)
    cluster.reconcile()
    field = FIELDS[Stage(stage)]
    assert message(cluster, name).endswith(f"; {field} was changed after it had begun, too late for it")


def complete(job: JobBuilder, **spec: Any) -> FakeCluster:
    cluster = FakeCluster(job(**spec))
    cluster.reconcile()
    while cluster.active:
        cluster.end(0)
        cluster.reconcile()
    assert cluster.job.to_dict()["status"]["phase"] == "Complete"
    return cluster


@pytest.mark.parametrize("are_gone", [False, True], ids=["jobs are there", "jobs were cleaned away"])
@pytest.mark.parametrize("export", [{}, {"push": PUSH}], ids=["never pushed", "pushed elsewhere"])
def test_a_complete_job_is_pushed_where_it_says_now(
    job: JobBuilder, export: dict[str, Any], are_gone: bool
) -> None:
    cluster = complete(job, export=export)
    before = cluster.job.to_dict()["status"]
    assert before.get("pushedTo") == export.get("push", {}).get("uri")
    if are_gone:
        cluster.children = {ref: child for ref, child in cluster.children.items() if ref.kind != "Job"}
    cluster.update(export={"push": {"uri": "s3://bucket/two"}})
    status = cluster.reconcile().status
    assert (component(cluster), status["phase"]) == ("push", "Pending")
    # What serves the model goes on.
    assert (status["modelPath"], status.get("pushedTo")) == (before["modelPath"], before.get("pushedTo"))
    assert run_file_of(cluster)["export"]["push"]["uri"] == "s3://bucket/two"
    cluster.end(0)
    status = cluster.reconcile().status
    assert (status["phase"], status["pushedTo"]) == ("Complete", "s3://bucket/two")
    cluster.update(export={})
    status = cluster.reconcile().status
    assert (status["phase"], status["pushedTo"], cluster.active) == ("Complete", "s3://bucket/two", None)


def test_a_push_that_ended_elsewhere_is_done_again(job: JobBuilder) -> None:
    cluster = at(job, "push")
    cluster.pods("Running")
    cluster.reconcile()
    cluster.update(export={"shards": 2, "push": {"uri": "s3://bucket/two"}})
    cluster.reconcile()
    cluster.end(0)
    cluster.reconcile()
    assert (component(cluster), run_file_of(cluster)["export"]["push"]["uri"]) == ("push", "s3://bucket/two")
    cluster.end(0)
    assert cluster.reconcile().status["pushedTo"] == "s3://bucket/two"


def test_a_push_of_an_operator_before_is_done(job: JobBuilder) -> None:
    """Its Job says nothing of what it was given."""
    cluster = at(job, "push")
    assert cluster.active
    del cluster.active["metadata"]["labels"]["finetune.dev/settings"]
    cluster.end(0)
    assert cluster.reconcile().status["phase"] == "Complete"


ALL_CHANGES: dict[str, dict[str, Any]] = {
    "model.tokenSecretRef": {"model": {"uri": "hf://a/b", "tokenSecretRef": {"name": "hub", "key": "token"}}},
    "model.verify": {"model": {**MODEL, "verify": False}},
    "dataset.tokenSecretRef": {
        "dataset": {"uri": "hf://a/c", "tokenSecretRef": {"name": "hub", "key": "token"}}
    },
    "workers": {"workers": {"device": "cpu", "podOverrides": {"nodeSelector": {"a": "b"}}}},
    "stageOverrides": {"stageOverrides": {"merge": {"nodeSelector": {"a": "b"}}}},
    "export.shards": {"export": {"shards": 3, "push": PUSH}},
    "export.push": {"export": {"shards": 2, "push": {"uri": "s3://bucket/two"}}},
    "evaluation": {"evaluation": {**SPEC["evaluation"], "maxModelLen": 100}},
    "evaluation.require": {"evaluation": {"tasks": [TASK]}},
    "cache": {"cache": {"claimName": "kernels"}},
    "scheduling": {"scheduling": {"priorityClassName": "high"}},
    "failurePolicy": {"failurePolicy": {"maxRestarts": 7}},
    "ttlSecondsAfterFinished": {"ttlSecondsAfterFinished": 60},
    "deployment": {"deployment": {"device": "cpu"}},
}


def test_every_field_that_may_change_is_tried() -> None:
    never = {Change.ANOTHER_RUN, Change.ANOTHER_PLACE, Change.CHECKED_BEFORE}
    assert ALL_CHANGES.keys() == {path for path, change in WHAT_MAY_CHANGE.items() if change not in never}


@pytest.mark.parametrize("path", ALL_CHANGES)
def test_what_is_in_the_run_file_is_of_a_stage_s_settings(job: JobBuilder, path: str) -> None:
    """Otherwise run.json would go on saying what it said, and nobody would know."""
    hub = {"model": {"uri": "hf://a/b"}, "dataset": {"uri": "hf://a/c"}} if "token" in path else {}
    before, after = job(**{**SPEC, **hub}), job(**{**SPEC, **hub, **ALL_CHANGES[path]})
    changed = build_run_file(before) != build_run_file(after)
    assert changed is (settings_of(before.spec) != settings_of(after.spec)) is (path in FIELDS.values())
    assert build_run_file(before).run == build_run_file(after).run
