"""Finished Jobs that are cleaned away: what they did is not done again, and a failure stays one."""

from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest
from fake_cluster import END, NOW, FakeCluster, JobBuilder

from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.conditions import condition_of
from finetune_operator.core.labels import RETRIED_AT
from finetune_operator.core.objects import Manifest, Ref

STAGES = ("prepare", "train", "merge-shards", "merge", "verify", "push")
SPEC: dict[str, Any] = {"export": {"shards": 2, "push": {"uri": "hf://a/b"}}}


def jobs(cluster: FakeCluster) -> list[Ref]:
    return sorted(ref for ref in cluster.children if ref.kind == "Job")


def clean_away(cluster: FakeCluster, *stages: str) -> None:
    """Delete the finished Jobs of stages, or all that are finished."""
    for ref in jobs(cluster):
        job = cluster.children[ref]
        of_stages = not stages or job["metadata"]["labels"]["app.kubernetes.io/component"] in stages
        if of_stages and "status" in job:
            del cluster.children[ref]


def conditions(cluster: FakeCluster) -> list[Manifest]:
    found: list[Manifest] = cluster.job.to_dict()["status"]["conditions"]
    return found


def after(job: FineTuneJob, *codes: int) -> FakeCluster:
    """Return a cluster in which attempts have ended so, with the next step's Job made."""
    cluster = FakeCluster(job)
    now = NOW
    cluster.reconcile(now)
    for code in codes:
        cluster.end(code)
        cluster.reconcile(now := now + timedelta(hours=1))
    return cluster


@pytest.mark.parametrize("done", range(1, len(STAGES) + 1))
def test_no_stage_is_done_again_whichever_jobs_are_gone(job: JobBuilder, done: int) -> None:
    for size in range(1, done + 1):
        for gone in combinations(STAGES[:done], size):
            cluster = after(job(**SPEC), *(done * [0]))
            before = conditions(cluster)
            active = cluster.active
            clean_away(cluster, *gone)
            plan = cluster.reconcile(NOW + timedelta(hours=10))

            assert (plan.apply, plan.delete) == ((), ())
            assert (cluster.active, conditions(cluster)) == (active, before)


def test_a_complete_job_needs_no_job_for_its_paths(job: JobBuilder) -> None:
    cluster = after(job(**SPEC), *(6 * [0]))
    before = cluster.job.to_dict()["status"]
    clean_away(cluster)
    assert cluster.reconcile(NOW + timedelta(days=9)).status == before
    assert before["phase"] == "Complete"
    assert jobs(cluster) == []


def test_it_expires_without_its_jobs(job: JobBuilder) -> None:
    cluster = after(job(ttlSecondsAfterFinished=60), *(4 * [0]))
    clean_away(cluster)
    cluster.reconcile(NOW + timedelta(days=1))
    assert cluster.deleted_parent


FAILURES = [
    pytest.param((3,), 1, id="data, at once"),
    pytest.param((0, 2), 1, id="configuration, of training"),
    pytest.param((0, 11, 11), 1, id="no more restarts"),
    pytest.param((0, 11), 0, id="none was allowed"),
    pytest.param((0, 0, 0, 0, 3), 1, id="the gate"),
]


@pytest.mark.parametrize(("codes", "restarts"), FAILURES)
@pytest.mark.parametrize("suspend", [False, True])
def test_a_failed_job_stays_failed(
    job: JobBuilder, codes: tuple[int, ...], restarts: int, suspend: bool
) -> None:
    cluster = after(job(**SPEC, failurePolicy={"maxRestarts": restarts}), *codes)
    before = cluster.job.to_dict()["status"]
    clean_away(cluster)
    cluster.update(scheduling={"suspend": suspend})

    plan = cluster.reconcile(NOW + timedelta(days=1))

    assert (plan.apply, plan.delete, plan.events) == ((), (), ())
    assert plan.status == before
    assert before["phase"] == "Failed"


def test_some_attempts_that_are_gone_give_no_restart_back(job: JobBuilder) -> None:
    cluster = after(job(failurePolicy={"maxRestarts": 1}), 0, 11, 11)
    first = next(ref for ref in jobs(cluster) if ref.name.endswith("train-0"))
    del cluster.children[first]
    assert cluster.reconcile(NOW + timedelta(days=1)).status["phase"] == "Failed"
    assert cluster.active is None


@pytest.mark.parametrize("gone", [False, True], ids=["its Jobs are there", "its Jobs are gone"])
@pytest.mark.parametrize(("codes", "restarts"), FAILURES)
def test_a_retry_forgives_what_failed_until_then(
    job: JobBuilder, codes: tuple[int, ...], restarts: int, gone: bool
) -> None:
    cluster = after(job(**SPEC, failurePolicy={"maxRestarts": restarts}), *codes)
    done = cluster.job.to_dict()["status"]["stage"]
    if gone:
        clean_away(cluster)
    retry(cluster)

    plan = cluster.reconcile(NOW + timedelta(days=1))

    made = plan.apply[-1]["metadata"]["labels"]["app.kubernetes.io/component"]
    assert (made, plan.status["restarts"]) == (done, 0)
    assert {c["type"]: c["status"] for c in plan.status["conditions"]}["Failed"] == "False"


@pytest.mark.parametrize("said", ["", "soon", "2025-12-31T23:59:59Z", "2025-12-31T23:59:59"])
def test_what_names_no_time_of_the_failure_forgives_nothing(job: JobBuilder, said: str) -> None:
    cluster = after(job(), 3)
    retry(cluster, said)
    status = cluster.reconcile(NOW + timedelta(days=1)).status
    assert status["phase"] == "Failed"
    stalled = condition_of(status, "Stalled")["message"]
    told = (
        "The annotation finetune.dev/retried-at is 'soon', which is no time: `finetune retry` sets it, to "
        "the lastTransitionTime of Failed"
    )
    assert stalled.endswith(told) == (said == "soon")


def retry(cluster: FakeCluster, at: str = END) -> None:
    metadata = cluster.job.metadata.model_copy(update={"annotations": {RETRIED_AT: at}})
    cluster.job = cluster.job.model_copy(update={"metadata": metadata})


def test_raising_what_it_hit_lets_it_go_on_without_its_jobs(job: JobBuilder) -> None:
    cluster = after(job(failurePolicy={"maxRestarts": 1}), 0, 11, 11)
    clean_away(cluster)
    cluster.update(failurePolicy={"maxRestarts": 2})
    plan = cluster.reconcile(NOW + timedelta(days=1))
    assert plan.apply[-1]["metadata"]["name"].endswith("-train-0")
    assert plan.status["restarts"] == 2


def test_another_run_remembers_nothing(job: JobBuilder) -> None:
    cluster = after(job(), *(4 * [0]))
    clean_away(cluster)
    cluster.update(training={"steps": 99})
    assert cluster.reconcile(NOW + timedelta(days=1)).apply[-1]["metadata"]["name"].endswith("-prepare-0")
