"""A job that starts from another job's adapter: where it is, what it waits for, what does not fit."""

import json
from typing import Any

import pytest
from fake_cluster import END, NOW, FakeCluster, JobBuilder, names

from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.conditions import condition_of
from finetune_operator.core.config import Config
from finetune_operator.core.outcome import Outcome, outcome_of
from finetune_operator.core.run import run_of
from finetune_operator.finetune import Observed
from finetune_operator.finetune.reconcile import reconcile
from finetune_operator.finetune.starting_point import starting_point
from finetune_operator.finetune.step import Awaiting, Failed

FROM = {"from": {"fineTuneJobRef": {"name": "first"}}}
PATH = "runs/default/first/3f2a9c1b/adapter"


def first(job: JobBuilder, *, trained: bool = True, failure: str = "", **spec: Any) -> Outcome:
    """What the job came to that is started from."""
    named = job(**spec)
    status = {
        "run": run_of(named.spec),
        "observedGeneration": 1,
        "conditions": [
            _condition("Complete", "False", "The train stage runs"),
            _condition("Failed", "True" if failure else "False", failure),
        ],
        **({"adapterPath": PATH} if trained else {}),
    }
    manifest = named.to_dict()
    return outcome_of({**manifest, "status": status, "metadata": {**manifest["metadata"], "name": "first"}})


def _condition(type_: str, status: str, message: str) -> dict[str, str]:
    said = {"type": type_, "status": status, "reason": "R", "message": message}
    return {**said, "lastTransitionTime": END}


def test_it_starts_from_the_adapter_of_the_job_s_run(job: JobBuilder) -> None:
    plan = reconcile(job(lora=FROM), Observed(named={"first": first(job)}), NOW, Config())
    (run_file,) = (child["data"]["run.json"] for child in plan.apply if child["kind"] == "ConfigMap")
    assert json.loads(run_file)["lora"]["from"] == {"uri": PATH, "path": PATH, "revision": None}
    assert any("-prepare-0" in name for name in names(plan))


@pytest.mark.parametrize(
    ("other", "lora", "reason", "said"),
    [
        pytest.param(None, {}, "FineTuneJobNotFound", "waits for FineTuneJob first, which", id="not there"),
        pytest.param(
            {"trained": False}, {}, "AdapterNotTrained", "to be Trained: The train stage runs", id="trains"
        ),
    ],
)
def test_what_is_not_there_yet_is_waited_for(
    job: JobBuilder, other: dict[str, Any] | None, lora: dict[str, Any], reason: str, said: str
) -> None:
    named = {} if other is None else {"first": first(job, **other)}
    plan = reconcile(job(lora={**FROM, **lora}), Observed(named=named), NOW, Config())
    assert not plan.apply
    going_on = condition_of(plan.status, "Reconciling")
    assert (going_on["status"], going_on["reason"]) == ("True", reason)
    assert said in condition_of(plan.status, "Complete")["message"]
    assert condition_of(plan.status, "Failed")["status"] == "False"
    assert plan.status["phase"] == "Pending"


@pytest.mark.parametrize(
    ("other", "own", "reason", "said"),
    [
        pytest.param(
            {"trained": False, "failure": "It broke"}, {}, "FineTuneJobFailed", "first failed: It broke",
            id="failed",
        ),
        pytest.param(
            {"storage": {"claimName": "theirs"}}, {}, "AdapterInAnotherVolume", "in the volume theirs",
            id="another volume",
        ),
        pytest.param(
            {"model": {"uri": "models/other"}}, {}, "AdapterMismatch",
            "model.uri is models/tiny-base, and FineTuneJob first has models/other", id="another base",
        ),
        pytest.param(
            {"lora": {"rank": 8}, "trained": False}, {}, "AdapterMismatch",
            "lora.rank is 16, and FineTuneJob first has 8; set lora.rank to that", id="another rank, early",
        ),
        pytest.param(
            {"lora": {"alpha": 16}}, {}, "AdapterMismatch", "lora.alpha is 32", id="another alpha"
        ),
        pytest.param(
            {"lora": {"useRslora": True}}, {}, "AdapterMismatch", "lora.useRslora is false", id="rslora"
        ),
        pytest.param({"lora": {"dora": True}}, {}, "AdapterMismatch", "lora.dora is false", id="dora"),
        pytest.param(
            {"lora": {"rankPattern": {"o_proj": 4}}}, {}, "AdapterMismatch", "lora.rankPattern is",
            id="patterns",
        ),
        pytest.param(
            {"lora": {"targets": ["attention", "mlp"]}}, {}, "AdapterMismatch",
            "lora.targets is [attention], and FineTuneJob first has [attention, mlp]", id="more targets",
        ),
        pytest.param(
            {"lora": {"targets": ["served_attention"]}}, {}, "AdapterMismatch", "lora.targets is [attention]",
            id="without kv_b_proj",
        ),
        pytest.param(
            {"lora": {"targets": ["wq_b", "o_proj"]}}, {}, "AdapterMismatch", "has [wq_b, o_proj]",
            id="fewer, by torchtitan's names",
        ),
        pytest.param(
            {}, {"from": {"fineTuneJobRef": {"name": "faq"}}}, "FineTuneJobFailed", "this job itself",
            id="itself",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_fails_before_anything_is_made(
    job: JobBuilder, other: dict[str, Any], own: dict[str, Any], reason: str, said: str
) -> None:
    plan = reconcile(job(lora={**FROM, **own}), Observed(named={"first": first(job, **other)}), NOW, Config())
    assert not plan.apply
    failed = condition_of(plan.status, "Failed")
    assert (failed["status"], failed["reason"]) == ("True", reason)
    assert said in failed["message"]


@pytest.mark.parametrize(
    "targets",
    [
        pytest.param(
            ["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"], id="with q's LoRA"
        ),
        pytest.param(["q_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"], id="without"),
        pytest.param(["wq_a", "wq_b", "wkv_a", "wkv_b", "wo"], id="by torchtitan's names"),
        pytest.param(["q_b_proj", "in_proj"], id="a name that no base has, which prepare refuses"),
    ],
)
def test_targets_of_other_names_may_be_the_same(job: JobBuilder, targets: list[str]) -> None:
    named = {"first": first(job, lora={"targets": targets})}
    assert starting_point(job(lora=FROM), named) == PATH


def test_a_run_goes_on_when_the_job_that_it_started_from_is_gone(job: JobBuilder) -> None:
    cluster = FakeCluster(job(lora=FROM))
    cluster.named = {"first": first(job)}
    before = next(child for child in cluster.reconcile().apply if child["kind"] == "ConfigMap")
    cluster.end(0)
    cluster.named = {}
    plan = cluster.reconcile()
    assert [name for name in names(plan) if "Job/" in name and "-train-0" in name]
    assert before in cluster.children.values()


def test_nobody_is_asked_where_no_job_is_named(job: JobBuilder) -> None:
    named: FineTuneJob = job(lora={"from": {"uri": "adapters/first"}})
    assert starting_point(named, {}) is None
    assert not isinstance(starting_point(job(), {}), Awaiting | Failed)
