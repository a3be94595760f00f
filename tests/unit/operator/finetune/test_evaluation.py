"""An evaluation between the gate and the push: its pod, what it tells, and what falls short."""

import json
from typing import Any

import pytest
from fake_cluster import FakeCluster, JobBuilder, names

from finetune_operator.core.conditions import condition_of
from finetune_operator.core.config import Config
from finetune_operator.finetune.children.evaluation import server_args
from finetune_operator.finetune.evaluation import Scored, evaluation_server, read_evaluation
from finetune_operator.finetune.fits import fits_of

TASK = {"name": "faq", "uri": "evaluations/faq.jsonl", "metric": "exact_match"}
EVALUATION = {"tasks": [TASK], "require": {"faq": ">= 0.9"}}
PUSH = {"push": {"uri": "hf://acme/faq"}}
TOLD = {"task": "faq", "metric": "exact_match", "base": 0.0, "tuned": 0.95, "rows": 60, "required": ">= 0.9"}
SHORT = {
    "reason": "EvaluationFailed",
    "message": "the merged model falls short of evaluation.require: faq: exact_match 0.4",
    "remedy": "It was not released",
}


def evaluated(job: JobBuilder, code: int, told: Any, **spec: Any) -> FakeCluster:
    """A job whose evaluation has ended so."""
    cluster = FakeCluster(job(evaluation=EVALUATION, export=PUSH, **spec))
    for _ in ("prepare", "train", "merge", "verify"):
        cluster.reconcile()
        cluster.end(0)
    cluster.reconcile()
    assert cluster.active is not None
    assert cluster.active["metadata"]["labels"]["app.kubernetes.io/component"] == "evaluate"
    cluster.end(code, told=json.dumps(told))
    return cluster


def test_a_model_that_reaches_it_is_pushed_and_the_status_goes_on_saying_how(job: JobBuilder) -> None:
    cluster = evaluated(job, 0, {"evaluation": [TOLD]})
    plan = cluster.reconcile()
    assert next(name for name in names(plan) if name.startswith("Job/")).endswith("-push-0")
    assert plan.status["evaluation"] == [TOLD]
    for child in cluster.children.values():
        child.pop("pods", None)
    status = cluster.reconcile().status
    assert status["evaluation"] == [TOLD]
    assert condition_of(status, "Evaluated")["message"] == (
        "The merged model reaches what evaluation.require says; "
        "faq: exact_match 0.95, the base's 0, required >= 0.9"
    )


def test_one_that_falls_short_is_neither_pushed_nor_served(job: JobBuilder) -> None:
    cluster = evaluated(job, 3, SHORT, deployment={"device": "cpu"})
    plan = cluster.reconcile()
    assert not [name for name in names(plan) if name.startswith("Job/")]
    failed = condition_of(plan.status, "Failed")
    assert (failed["status"], failed["reason"]) == ("True", "EvaluationFailed")
    assert failed["message"] == f"{SHORT['message']}. {SHORT['remedy']}"
    assert "modelPath" not in plan.status
    assert [condition_of(plan.status, name)["status"] for name in ("Verified", "Evaluated", "Pushed")] == [
        "True", "False", "False",
    ]  # fmt: skip


def test_nothing_is_said_of_one_that_nobody_asked_for(job: JobBuilder) -> None:
    status = FakeCluster(job()).reconcile().status
    assert not condition_of(status, "Evaluated")


@pytest.mark.parametrize(
    ("result", "scored"),
    [
        pytest.param(
            json.dumps({"evaluation": [TOLD]}),
            (Scored(task="faq", metric="exact_match", base=0.0, tuned=0.95, rows=60, required=">= 0.9"),),
            id="whole",
        ),
        pytest.param(
            '{"evaluation": [{"task": "a", "metric": "regex", "base": NaN, "tuned": 1, "rows": 1}, 3, '
            '{"task": "b", "metric": "regex", "base": 0, "tuned": 1, "rows": 2, "required": 7}]}',
            (Scored(task="b", metric="regex", base=0.0, tuned=1.0, rows=2),),
            id="garbled in part",
        ),
        pytest.param('{"evaluation": []}', None, id="no task"),
        pytest.param('{"evaluation": 3}', None, id="no list"),
        pytest.param("[" * 100_000, None, id="brackets"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_what_the_stage_tells(result: str, scored: tuple[Scored, ...] | None) -> None:
    assert read_evaluation(result) == scored


EIGHT = {"gpusPerNode": 8}
KNOWN = {"uri": "hf://deepseek-ai/DeepSeek-V3"}


@pytest.mark.parametrize(
    ("spec", "arguments"),
    [
        pytest.param(
            {"workers": EIGHT}, "--tensor-parallel-size 8 --pipeline-parallel-size 1", id="a node's GPUs"
        ),
        pytest.param(
            {"workers": EIGHT, "model": KNOWN, "evaluation": {**EVALUATION, "gpus": 4, "maxModelLen": 4096}},
            "--tensor-parallel-size 4 --pipeline-parallel-size 1 --max-model-len 4096"
            " --enable-auto-tool-choice --tool-call-parser deepseek_v3",
            id="its own",
        ),
        pytest.param(
            {
                "workers": EIGHT,
                "deployment": {
                    "tensorParallelSize": 2,
                    "dataParallelSize": 4,
                    "maxModelLen": 8192,
                    "loadFormat": "instanttensor",
                    "expertParallel": True,
                    "engineArgs": ["--seed=1"],
                },
            },
            "--tensor-parallel-size 2 --pipeline-parallel-size 1 --data-parallel-size 4"
            " --enable-expert-parallel --max-model-len 8192 --load-format instanttensor --seed=1",
            id="as it will be served",
        ),
        pytest.param(
            {
                "workers": EIGHT,
                "evaluation": {**EVALUATION, "gpus": 8},
                "deployment": {"dataParallelSize": 4, "expertParallel": True},
            },
            "--tensor-parallel-size 8 --pipeline-parallel-size 1 --enable-expert-parallel",
            id="other GPUs than it will be served on",
        ),
    ],
)
def test_vllm_runs_as_it_will_serve(job: JobBuilder, spec: dict[str, Any], arguments: str) -> None:
    made = server_args(job(**{"evaluation": EVALUATION, "flavor": "auto", **spec}))
    assert " ".join(made) == f"-- {arguments} --no-trust-remote-code"


def test_on_a_cpu_it_takes_no_gpus(job: JobBuilder) -> None:
    parent = job(evaluation=EVALUATION)
    assert evaluation_server(parent.spec).gpus_per_replica == 0
    assert "--enforce-eager" in server_args(parent)


CALLS = {"tasks": [{**TASK, "metric": "tool_call"}]}
WITH_PARSER = {"engineArgs": ["--enable-auto-tool-choice", "--tool_call_parser=hermes"]}


@pytest.mark.parametrize(
    ("spec", "runs"),
    [
        pytest.param({}, False, id="a folder"),
        pytest.param({"deployment": {"device": "cpu"}}, False, id="a server without one"),
        pytest.param({"deployment": {"device": "cpu", **WITH_PARSER}}, True, id="the server's own"),
        pytest.param({"flavor": "auto", "model": KNOWN}, True, id="a base that is known"),
    ],
)
def test_calls_without_a_parser_are_refused_before_anything_runs(
    job: JobBuilder, spec: dict[str, Any], runs: bool
) -> None:
    plan = FakeCluster(job(evaluation=CALLS, **spec)).reconcile()
    assert any(name.startswith("Job/") for name in names(plan)) is runs
    failed = condition_of(plan.status, "Failed")
    assert (failed["reason"] == "EvaluationInvalid") is not runs
    assert runs or "which of vLLM's parsers finds tool calls of models/tiny-base" in failed["message"]


LARGE = {"flavor": "671B_lora", "training": {"steps": 1, "recompute": "full", "parallelism": {"expert": 8}}}


@pytest.mark.parametrize(
    ("spec", "status", "says"),
    [
        pytest.param(
            {"evaluation": {**EVALUATION, "maxModelLen": 32768}},
            "True",
            "Evaluation in float8 needs 673 GB of the 1,128 GB of 8 GPUs",
            id="fits",
        ),
        pytest.param(
            {"evaluation": EVALUATION, "export": {"dtype": "bfloat16"}},
            "False",
            "Evaluation in bfloat16 needs 1,342 GB of the 1,128 GB of 8 GPUs: set export.dtype to float8",
            id="the merged model in bfloat16",
        ),
        pytest.param(
            {"evaluation": {**EVALUATION, "gpus": 4, "maxModelLen": 32768}},
            "False",
            "Evaluation in float8 needs 673 GB of the 564 GB of 4 GPUs: set evaluation.gpus to 8",
            id="half a node",
        ),
        pytest.param(
            {"evaluation": {**EVALUATION, "gpus": 16}},
            "False",
            "An evaluation asks for 16 GPUs in one pod, and a node has 8 (gpusPerNode in the chart): "
            "set evaluation.gpus to 8",
            id="two nodes",
        ),
    ],
)
def test_its_gpus_are_in_the_plan(job: JobBuilder, spec: dict[str, Any], status: str, says: str) -> None:
    fits = fits_of(job(**{**LARGE, "workers": {"nodes": 4, **EIGHT}, **spec}), Config())
    assert fits.status == status
    assert says in fits.message
