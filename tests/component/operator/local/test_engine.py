"""The local engine with real, short processes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.verdict import State, verdict_of
from finetune_operator.local.engine import Engine
from finetune_operator.local.errors import LocalError
from finetune_operator.local.runner import Runner

Start = Callable[..., tuple[Engine, Runner]]
Job = Callable[..., dict[str, Any]]


def conditions(parent: Manifest) -> dict[str, str]:
    return {c["type"]: c["status"] for c in parent["status"]["conditions"]}


def calls(fake: Path, stage: str, rank: int = 0) -> int:
    path = fake / f"{stage}.calls.{rank}"
    return len(path.read_text().split()) if path.exists() else 0


def tick_until(engine: Engine, done: Callable[[], bool]) -> None:
    def look() -> bool:
        engine.tick()
        return done()

    until("what the ticks bring about", look)


def test_a_job_goes_through_its_stages(start: Start, job: Job, fake: Path) -> None:
    engine, runner = start(job())

    assert runner.until_settled().state is State.READY

    (parent,) = engine.parents
    assert conditions(parent) == {
        "Fits": "Unknown",
        "Prepared": "True",
        "Trained": "True",
        "Converted": "True",
        "Verified": "True",
        "Complete": "True",
        "Failed": "False",
        "Reconciling": "False",
        "Stalled": "False",
    }
    assert [calls(fake, stage) for stage in ("prepare", "train", "merge", "verify")] == [1, 1, 1, 1]


def test_a_failure_is_tried_again(start: Start, job: Job, fake: Path) -> None:
    (fake / "train").write_text("11 10 0")
    engine, runner = start(job())

    assert runner.until_settled().state is State.READY

    assert calls(fake, "train") == 3
    assert engine.parents[0]["status"]["restarts"] == 2


def test_no_more_often_than_max_restarts(start: Start, job: Job, fake: Path) -> None:
    (fake / "train").write_text("11")
    _, runner = start(job())

    verdict = runner.until_settled()

    assert verdict.state is State.FAILED
    assert calls(fake, "train") == 3
    assert "failed again after 2 restarts: The train stage is broken. Mend it" in verdict.message


@pytest.mark.parametrize("code", [2, 3])
def test_what_a_retry_cannot_help_ends_the_job(start: Start, job: Job, fake: Path, code: int) -> None:
    (fake / "prepare").write_text(str(code))
    engine, runner = start(job())

    verdict = runner.until_settled()

    assert verdict.message == "The prepare stage is broken. Mend it"
    assert calls(fake, "prepare") == 1
    (failed,) = [c for c in engine.parents[0]["status"]["conditions"] if c["type"] == "Failed"]
    assert (failed["status"], failed["reason"]) == ("True", "Broken")
    pod = engine.failed_pod_of(engine.parents[0])
    assert pod is not None
    assert (pod.exit_code, pod.log.name) == (
        code,
        f"faq-{engine.parents[0]['status']['run']}-prepare-0-0.log",
    )


def test_a_model_that_falls_short_is_not_served(start: Start, job: Job, fake: Path) -> None:
    (fake / "evaluate").write_text("3")
    task = {"name": "faq", "uri": "evaluations/faq.jsonl", "metric": "exact_match"}
    evaluation = {"tasks": [task], "require": {"faq": ">= 0.9"}}
    engine, runner = start(job(evaluation=evaluation, deployment={"device": "cpu"}))

    verdict = runner.until_settled()

    assert (verdict.state, verdict.message) == (State.FAILED, "The evaluate stage is broken. Mend it")
    assert [calls(fake, stage) for stage in ("verify", "evaluate")] == [1, 1]
    served = next(parent for parent in engine.parents if parent["kind"] == "ModelDeployment")
    (why,) = [c for c in served["status"]["conditions"] if c["type"] == "Available"]
    assert (why["status"], why["reason"]) == ("False", "FineTuneJobFailed")
    assert "Deployment" not in {child["kind"] for child in engine.store.owned_by(served["metadata"]["uid"])}


@pytest.mark.parametrize("code", ["2", "3", "10"])
def test_a_job_that_failed_is_tried_again_when_it_is_run_again(
    start: Start, job: Job, fake: Path, code: str
) -> None:
    (fake / "prepare").write_text(code)
    _, runner = start(job())
    assert runner.until_settled().state is State.FAILED
    (fake / "prepare").unlink()  # what was wrong is corrected
    _, runner = start(job())
    assert runner.until_settled().state is State.READY
    assert not (fake / "train.calls.1").exists()


def test_stopping_saves_and_a_second_run_goes_on(start: Start, job: Job, fake: Path) -> None:
    (fake / "train").write_text("sleep 0")
    engine, runner = start(job())
    tick_until(engine, (fake / "sleeping").exists)

    runner.shut_down()

    assert (fake / "saved").exists()
    assert engine.parents[0]["status"]["phase"] == "Suspended"
    assert engine.is_idle

    engine, runner = start(job())
    assert runner.until_settled().state is State.READY
    assert engine.parents[0]["status"]["restarts"] == 0
    assert [calls(fake, stage) for stage in ("prepare", "train")] == [1, 2]


def test_another_spec_is_another_run(start: Start, job: Job, fake: Path) -> None:
    first, runner = start(job())
    runner.until_settled()
    run = first.parents[0]["status"]["run"]
    first.store.remove(Ref.of(job()))
    second, runner = start(job(training={"steps": 11}))

    assert runner.until_settled().state is State.READY

    assert run != second.parents[0]["status"]["run"]
    assert calls(fake, "train") == 2
    runs = {m["metadata"]["labels"]["finetune.dev/run"] for m in second.store.of_kind("Job")}
    assert runs == {second.parents[0]["status"]["run"]}


def test_a_job_that_has_started_takes_no_change_that_the_cluster_refuses(start: Start, job: Job) -> None:
    _, runner = start(job())
    runner.until_settled()

    with pytest.raises(LocalError, match=r"spec\.training cannot change once the job has started"):
        start(job(training={"steps": 11}))
    _, runner = start(job(failurePolicy={"maxRestarts": 1}))
    assert runner.until_settled().state is State.READY


def test_what_may_change_of_a_complete_job_is_heeded_or_refused(start: Start, job: Job, fake: Path) -> None:
    first, second = ({"export": {"push": {"uri": f"s3://bucket/{name}"}}} for name in ("one", "two"))
    for export, times in ((first, 1), (second, 2), (second, 2)):
        engine, runner = start(job(**export))
        assert runner.until_settled().state is State.READY
        assert engine.parents[0]["status"]["pushedTo"] == export["export"]["push"]["uri"]
        assert calls(fake, "push") == times
    with pytest.raises(LocalError, match=r"spec\.model\.verify cannot change once the model is trained"):
        start(job(**second, model={"uri": "models/tiny-base", "verify": False}))
    assert [calls(fake, stage) for stage in ("train", "merge", "verify")] == [1, 1, 1]


def test_two_nodes_meet(start: Start, job: Job, fake: Path) -> None:
    (fake / "train").write_text("meet")
    _, runner = start(job(workers={"nodes": 2, "device": "cpu"}))

    assert runner.until_settled().state is State.READY

    assert [calls(fake, "train", rank) for rank in (0, 1)] == [1, 1]


def test_shards_merge_side_by_side_before_the_merge_that_completes(
    start: Start, job: Job, fake: Path
) -> None:
    _, runner = start(job(export={"shards": 3}))

    assert runner.until_settled().state is State.READY

    shards = [f"{index}/3" for index in range(3)]
    assert sorted((fake / "shards").read_text().split()) == shards
    assert calls(fake, "merge") == 4


def test_one_failed_node_ends_the_attempt(start: Start, job: Job, fake: Path) -> None:
    (fake / "train").write_text("sleep")
    engine, _ = start(job(workers={"nodes": 2, "device": "cpu"}, failurePolicy={"maxRestarts": 0}))
    tick_until(engine, lambda: calls(fake, "train", 0) == 1 and calls(fake, "train", 1) == 1)

    os.kill(int((fake / "train.calls.1").read_text()), 9)

    tick_until(engine, lambda: verdict_of(engine.parents).state is State.FAILED)
    assert engine.is_idle


def test_a_deadline_ends_the_job(start: Start, job: Job, fake: Path) -> None:
    (fake / "train").write_text("sleep")
    _, runner = start(job(scheduling={"activeDeadlineSeconds": 1}))

    assert "activeDeadlineSeconds (1 s)" in runner.until_settled().message


def test_status_is_in_a_file(start: Start, job: Job, layout: Any) -> None:
    _, runner = start(job())
    runner.until_settled()

    assert "phase: Complete" in (layout.storage / "status/default/finetunejob/faq.yaml").read_text()
