"""Adapters of servers that run: by a ConfigMap, never by the pods' template; ready where all have them."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from serving_plans import NOW, READY, TRAINING, plan

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.deployment import ObservedDeployment
from finetune_operator.core.outcome import Outcome
from finetune_operator.core.plan import Plan
from finetune_operator.core.verdict import State, verdict_of
from finetune_operator.serving.server_adapters import (
    InvalidAdaptersError,
    ServerAdapters,
    parse_adapters,
)

Builder = Callable[..., ModelDeployment]
SERVER = ObservedDeployment(
    ref=Ref(api_version="apps/v1", kind="Deployment", namespace="default", name="faq"),
    replicas=2,
    updated=2,
    ready=2,
)
TONE = Outcome(claim="shared", adapter_path="runs/default/tone/1/adapter", rank=16)
OF_JOB = {"name": "tone", "fineTuneJobRef": {"name": "tone"}}
OF_FOLDER = {"name": "terms", "uri": "adapters/terms"}
HAS_BOTH = ServerAdapters(paths={"tone": "runs/default/tone/1/adapter", "terms": "adapters/terms"})
HAS_ONE = ServerAdapters(paths={"terms": "adapters/terms"})
HAS_AN_OLDER = ServerAdapters(paths={"tone": "runs/default/tone/0/adapter", "terms": "adapters/terms"})
REFUSES = ServerAdapters(paths=HAS_ONE.paths, refused={"tone": "rank 64 is greater than max_lora_rank 16"})


def of_kind(plan: Plan, kind: str) -> Manifest:
    (found,) = (child for child in plan.apply if child["kind"] == kind)
    return found


def wanted(plan: Plan) -> Any:
    return json.loads(of_kind(plan, "ConfigMap")["data"]["adapters.json"])


def conditions(plan: Plan) -> dict[str, Manifest]:
    return {c["type"]: c for c in plan.status["conditions"]}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([OF_FOLDER], [OF_FOLDER, OF_JOB], id="added"),
        pytest.param([OF_FOLDER, OF_JOB], [OF_FOLDER], id="removed"),
        pytest.param([OF_FOLDER], [{**OF_FOLDER, "uri": "adapters/terms-2"}], id="replaced"),
    ],
)
def test_a_change_of_adapters_restarts_nothing(
    deployment: Builder, before: list[Manifest], after: list[Manifest]
) -> None:
    jobs = {"tone": TONE}
    plans = [plan(deployment(adapters=a), model=READY, jobs=jobs) for a in (before, after)]
    templates = [of_kind(each, "Deployment")["spec"]["template"] for each in plans]
    assert templates[0] == templates[1]
    assert wanted(plans[0]) != wanted(plans[1])


def test_the_wanted_are_told_by_name_and_folder(deployment: Builder) -> None:
    made = plan(deployment(adapters=[OF_JOB, OF_FOLDER]), model=READY, jobs={"tone": TONE})
    assert wanted(made) == [
        {"name": "tone", "path": "runs/default/tone/1/adapter"},
        {"name": "terms", "path": "adapters/terms"},
    ]


@pytest.mark.parametrize(
    ("spec", "rank"),
    [
        pytest.param({}, None, id="no adapters"),
        pytest.param({"maxLoraRank": 64}, "64", id="none yet"),
        pytest.param({"adapters": [OF_FOLDER]}, "16", id="of a folder"),
        pytest.param({"adapters": [OF_JOB]}, "64", id="of a job"),
        pytest.param({"adapters": [OF_JOB], "maxLoraRank": 100}, "128", id="said to be higher"),
    ],
)
def test_the_highest_rank(deployment: Builder, spec: dict[str, Any], rank: str | None) -> None:
    tone = Outcome(claim="shared", adapter_path="runs/a", rank=48)
    made = of_kind(plan(deployment(**spec), model=READY, jobs={"tone": tone}), "Deployment")
    (container,) = made["spec"]["template"]["spec"]["containers"]
    given = dict(zip(container["args"], container["args"][1:], strict=False))
    assert given.get("--max-lora-rank") == rank
    assert ("VLLM_ALLOW_RUNTIME_LORA_UPDATING") not in {v["name"] for v in container["env"]}


@pytest.mark.parametrize(
    ("told", "status", "reason", "pods", "stalled"),
    [
        pytest.param({"a": HAS_BOTH, "b": HAS_BOTH}, "True", "AdaptersReady", ["a", "b"], "False", id="all"),
        pytest.param(
            {"a": HAS_BOTH, "b": HAS_ONE}, "False", "AdaptersLoading", ["a"], "False", id="one of two"
        ),
        pytest.param({"a": HAS_BOTH}, "False", "AdaptersLoading", ["a"], "False", id="one does not answer"),
        pytest.param(
            {"a": HAS_BOTH, "b": HAS_AN_OLDER}, "False", "AdaptersLoading", ["a"], "False", id="an older one"
        ),
        pytest.param({"a": HAS_BOTH, "b": REFUSES}, "False", "AdapterRefused", ["a"], "True", id="refused"),
    ],
)
def test_ready_when_every_server_has_it(
    deployment: Builder,
    told: dict[str, ServerAdapters],
    status: str,
    reason: str,
    pods: list[str],
    stalled: str,
) -> None:
    parent = deployment(adapters=[OF_JOB, OF_FOLDER], replicas=2)
    made = plan(parent, model=READY, jobs={"tone": TONE}, deployment=SERVER, adapters=told)
    found = conditions(made)
    assert (found["AdaptersReady"]["status"], found["AdaptersReady"]["reason"]) == (status, reason)
    assert found["Available"]["status"] == "True"
    assert found["Stalled"]["status"] == stalled
    assert found["Reconciling"]["status"] == ("False" if status == "True" or stalled == "True" else "True")
    assert made.status["adapters"][0]["pods"] == pods
    assert ("message" in made.status["adapters"][0]) == (status == "False")


@pytest.mark.parametrize(
    ("job", "reason", "stalled"),
    [
        pytest.param(TRAINING, "AdapterNotTrained", "False", id="it is not trained yet"),
        pytest.param(None, "FineTuneJobNotFound", "False", id="no job"),
        pytest.param(
            Outcome(claim="shared", failure="It broke"), "FineTuneJobFailed", "True", id="it failed"
        ),
    ],
)
def test_a_server_that_runs_goes_on_without_one_that_is_not_there(
    deployment: Builder, job: Outcome | None, reason: str, stalled: str
) -> None:
    parent = deployment(adapters=[OF_JOB, OF_FOLDER], replicas=2)
    told = {"a": HAS_ONE, "b": HAS_ONE}
    jobs = {"tone": job} if job else {}
    made = plan(parent, model=READY, jobs=jobs, deployment=SERVER, adapters=told)
    assert wanted(made) == [{"name": "terms", "path": "adapters/terms"}]
    found = conditions(made)
    assert found["AdaptersReady"]["reason"] == reason
    assert (found["Available"]["status"], found["Stalled"]["status"]) == ("True", stalled)


@pytest.mark.parametrize(
    ("told", "state"),
    [
        pytest.param({"a": HAS_BOTH, "b": HAS_BOTH}, State.READY, id="all are there"),
        pytest.param({"a": HAS_BOTH, "b": HAS_ONE}, State.GOING_ON, id="one is not"),
        pytest.param({"a": HAS_BOTH, "b": REFUSES}, State.FAILED, id="one is refused"),
    ],
)
def test_a_command_waits_for_them(deployment: Builder, told: dict[str, ServerAdapters], state: State) -> None:
    parent = deployment(adapters=[OF_JOB, OF_FOLDER], replicas=2)
    made = plan(parent, model=READY, jobs={"tone": TONE}, deployment=SERVER, adapters=told)
    assert verdict_of([{**parent.to_dict(), "status": made.status}]).state is state


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"adapters": [{"name": 1}]}', b'{"adapters": [' + b" " * 2**18 + b"]}"],
    ids=["nothing", "a list", "no adapters", "no name", "too much"],
)
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(InvalidAdaptersError):
        parse_adapters(body)


def test_an_answer() -> None:
    body = {
        "adapters": [{"name": "terms", "path": "adapters/terms"}],
        "refused": [{"name": "tone", "path": "x", "message": "no"}],
    }
    told = parse_adapters(json.dumps(body).encode())
    assert told == ServerAdapters(paths={"terms": "adapters/terms"}, refused={"tone": "no"})
    assert NOW


@pytest.mark.parametrize(
    ("env", "joined"),
    [
        pytest.param([], "/etc/finetune/adapters", id="ours"),
        pytest.param(
            [{"name": "PYTHONPATH", "value": "/mnt/a:/mnt/b"}],
            "/etc/finetune/adapters:/mnt/a:/mnt/b",
            id="and theirs",
        ),
        pytest.param([{"name": "PYTHONPATH", "value": ""}], "/etc/finetune/adapters", id="empty"),
        pytest.param([{"name": "PYTHONPATH"}], "/etc/finetune/adapters", id="no value"),
    ],
)
def test_a_python_path_does_not_hide_the_program_that_loads_them(
    deployment: Builder, env: list[Manifest], joined: str
) -> None:
    made = of_kind(plan(deployment(adapters=[OF_FOLDER], podOverrides={"env": env}), READY), "Deployment")
    (server,) = made["spec"]["template"]["spec"]["containers"]
    assert [v["value"] for v in server["env"] if v["name"] == "PYTHONPATH"] == [joined]
