"""The adapter of a job that trains: of its newest checkpoint, each in its turn, then the trained one."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from serving_plans import READY, plan

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.deployment import ObservedDeployment
from finetune_operator.core.outcome import Outcome, outcome_of
from finetune_operator.core.plan import Plan
from finetune_operator.core.run import run_of
from finetune_operator.serving.server_adapters import ServerAdapters

Builder = Callable[..., ModelDeployment]
FOLDER = "runs/default/tone/1/checkpoints"
LATEST = {"name": "tone", "fineTuneJobRef": {"name": "tone"}, "checkpoint": "latest"}
TRAINS = Outcome(claim="shared", rank=16, checkpoints=FOLDER, newest_checkpoint="step-200")
SERVER = ObservedDeployment(
    ref=Ref(api_version="apps/v1", kind="Deployment", namespace="default", name="faq"),
    replicas=2,
    updated=2,
    ready=2,
)


def has(step: int) -> ServerAdapters:
    return ServerAdapters(paths={"tone": f"{FOLDER}/step-{step}/adapter"})


def wanted(plan: Plan) -> Any:
    (found,) = (child for child in plan.apply if child["kind"] == "ConfigMap")
    return [each["path"] for each in json.loads(found["data"]["adapters.json"])]


def ready(plan: Plan) -> tuple[str, str]:
    (found,) = (c for c in plan.status["conditions"] if c["type"] == "AdaptersReady")
    return found["status"], found["reason"]


@pytest.mark.parametrize(
    ("job", "told", "path"),
    [
        pytest.param(TRAINS, {}, f"{FOLDER}/step-200/adapter", id="the newest"),
        pytest.param(
            replace(TRAINS, newest_checkpoint=None),
            {"a": has(40), "b": has(200)},
            f"{FOLDER}/step-200/adapter",
            id="nobody tells, and servers have one",
        ),
        pytest.param(
            replace(TRAINS, adapter_path="runs/default/tone/1/adapter"),
            {"a": has(200)},
            "runs/default/tone/1/adapter",
            id="trained",
        ),
    ],
)
def test_which_one_is_served(
    deployment: Builder, job: Outcome, told: dict[str, ServerAdapters], path: str
) -> None:
    parent = deployment(adapters=[LATEST], replicas=2)
    made = plan(parent, model=READY, jobs={"tone": job}, deployment=SERVER, adapters=told)
    assert wanted(made) == [path]


def test_the_status_tells_which_step_each_server_has(deployment: Builder) -> None:
    parent = deployment(adapters=[LATEST], replicas=2)
    told = {"a": has(200), "b": has(100), "c": ServerAdapters()}
    made = plan(parent, model=READY, jobs={"tone": TRAINS}, deployment=SERVER, adapters=told)
    (status,) = made.status["adapters"]
    assert status["checkpoints"] == {"a": "step-200", "b": "step-100"}
    assert status["pods"] == ["a"]
    assert ready(made) == ("False", "AdaptersLoading")
    everywhere = {"a": has(200), "b": has(200)}
    made = plan(parent, model=READY, jobs={"tone": TRAINS}, deployment=SERVER, adapters=everywhere)
    assert ready(made) == ("True", "AdaptersReady")


@pytest.mark.parametrize(
    ("job", "reason", "stalled"),
    [
        pytest.param(replace(TRAINS, newest_checkpoint=None), "CheckpointNotSaved", "False", id="none yet"),
        pytest.param(replace(TRAINS, checkpoints=""), "CheckpointsWithoutAdapter", "True", id="without it"),
        pytest.param(replace(TRAINS, failure="It broke"), "FineTuneJobFailed", "True", id="it failed"),
    ],
)
def test_why_there_is_none(deployment: Builder, job: Outcome, reason: str, stalled: str) -> None:
    made = plan(deployment(adapters=[LATEST]), model=READY, jobs={"tone": job})
    found = {c["type"]: c for c in made.status["conditions"]}
    assert (found["Progressing"]["reason"], found["Stalled"]["status"]) == (reason, stalled)


def test_a_folder_has_no_checkpoints(deployment: Builder) -> None:
    with pytest.raises(ValidationError, match="only a job has checkpoints"):
        deployment(adapters=[{"name": "terms", "uri": "adapters/terms", "checkpoint": "latest"}])


@pytest.mark.parametrize(
    ("adapters", "told", "newest"),
    [
        pytest.param(True, "step-200", "step-200", id="a step"),
        pytest.param(True, "../../../secrets", None, id="another path"),
        pytest.param(True, None, None, id="none yet"),
        pytest.param(False, "step-200", "step-200", id="without adapters"),
    ],
)
def test_what_a_job_tells(adapters: bool, told: str | None, newest: str | None) -> None:
    manifest: Manifest = {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": "tone", "namespace": "default", "uid": "u-1", "generation": 1},
        "spec": {
            "model": {"uri": "models/tiny"},
            "dataset": {"uri": "datasets/faq.jsonl"},
            "training": {"steps": 10, "checkpoint": {"adapters": adapters}},
            "workers": {"device": "cpu"},
            "storage": {"claimName": "models"},
        },
    }
    run = run_of(FineTuneJob.model_validate(manifest).spec)
    progress = {"lastCheckpoint": told} if told else {}
    manifest["status"] = {"observedGeneration": 1, "run": run, "progress": progress}
    outcome = outcome_of(manifest)
    assert outcome.newest_checkpoint == newest
    assert outcome.checkpoints == (f"runs/default/tone/{run}/checkpoints" if adapters else "")
