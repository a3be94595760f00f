"""Whole plans, and that a plan that was applied leaves nothing to do."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.config import Config
from finetune_operator.core.digest import spec_hash_of
from finetune_operator.core.job_observation import observe_job
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.plan import Event, Plan
from finetune_operator.finetune import Observed, ObservedProgress
from finetune_operator.finetune.reconcile import reconcile

JobBuilder = Callable[..., FineTuneJob]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
END = "2026-01-01T00:00:00Z"


class FakeCluster:
    """Holds one job's children and its status, as an API server would."""

    def __init__(self, job: FineTuneJob) -> None:
        self.job = job
        self.children: dict[Ref, Manifest] = {}
        self.deleted_parent = False

    def observed(self, progress: ObservedProgress | None = None) -> Observed:
        jobs = [child for ref, child in self.children.items() if ref.kind == "Job"]
        return Observed(
            children={ref: spec_hash_of(child) for ref, child in self.children.items()},
            jobs=tuple(observe_job(child, child.get("pods", [])) for child in jobs),
            progress=progress,
        )

    def reconcile(self, now: datetime = NOW, progress: ObservedProgress | None = None) -> Plan:
        plan = reconcile(self.job, self.observed(progress), now, Config())
        for child in plan.apply:
            self.children[Ref.of(child)] = child
        for ref in plan.delete:
            self.children.pop(ref, None)
            self.deleted_parent |= ref.kind == "FineTuneJob"
        self.update(status=plan.status)
        return plan

    def update(self, **changes: Any) -> None:
        """Change the parent: its status, or fields of its spec."""
        manifest = self.job.to_dict()
        manifest["status"] = changes.pop("status", manifest.get("status"))
        manifest["spec"] |= changes
        self.job = FineTuneJob.model_validate(manifest)

    @property
    def active(self) -> Manifest | None:
        jobs = (child for ref, child in self.children.items() if ref.kind == "Job")
        return next((child for child in jobs if "conditions" not in child.get("status", {})), None)

    def end(self, code: int, *, disrupted: bool = False) -> None:
        """End the Job that runs."""
        job = self.active
        assert job is not None
        condition = {
            "type": "Failed" if code else "Complete",
            "status": "True",
            "reason": "R",
            "lastTransitionTime": END,
        }
        job["status"] = {"startTime": END, "conditions": [condition]}
        ended = {"exitCode": code, "message": "It broke", "finishedAt": END}
        conditions = [{"type": "DisruptionTarget", "status": "True"}] if disrupted else []
        job["pods"] = [
            {"status": {"containerStatuses": [{"state": {"terminated": ended}}], "conditions": conditions}}
        ]


def names(plan: Plan) -> list[str]:
    return [f"{child['kind']}/{child['metadata']['name']}" for child in plan.apply]


def test_the_life_of_a_job(job: JobBuilder) -> None:
    cluster = FakeCluster(job(storage={"size": "10Gi"}))
    first = cluster.reconcile()
    run = first.status["run"]

    assert names(first) == [
        "PersistentVolumeClaim/faq-storage",
        f"ConfigMap/faq-{run}",
        f"Service/faq-{run}",
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
    conditions = [
        ("Prepared", "False", "Failed", message),
        ("Trained", "False", "Pending", "Waits for the prepare stage"),
        ("Converted", "False", "Pending", "Waits for the train stage"),
        ("Verified", "False", "Pending", "Waits for the merge stage"),
        ("Complete", "False", "Failed", message),
        ("Failed", "True", "ConfigurationInvalid", message),
        ("Reconciling", "False", "Failed", message),
        ("Stalled", "True", "Failed", message),
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
    cluster.update(training={"steps": 11})

    plan = cluster.reconcile()

    assert {ref.name for ref in plan.delete} == {f"faq-{old}", f"faq-{old}-prepare-0"}
    assert len(plan.apply) == 3


def test_a_finished_job_is_deleted_when_its_time_is_over(job: JobBuilder) -> None:
    cluster = FakeCluster(job(ttlSecondsAfterFinished=60))
    cluster.reconcile()
    cluster.end(2)

    assert cluster.reconcile().requeue_after == 60
    assert cluster.reconcile(NOW + timedelta(seconds=59)).requeue_after == 1
    assert not cluster.deleted_parent
    cluster.reconcile(NOW + timedelta(seconds=60))
    assert cluster.deleted_parent


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
    assert [c["status"] for c in status["conditions"][:4]] == conditions


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
