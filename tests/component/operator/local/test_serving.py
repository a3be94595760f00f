"""Deployments of the local engine, with a real, small HTTP server in vLLM's place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from waiting import until

from finetune_operator.cli import finetune
from finetune_operator.core.verdict import State
from finetune_operator.local import deployment_controller
from finetune_operator.local.engine import Engine
from finetune_operator.local.errors import LocalError
from finetune_operator.local.layout import Layout
from finetune_operator.local.runner import Runner

Start = Callable[..., tuple[Engine, Runner]]
Job = Callable[..., dict[str, Any]]


@pytest.fixture
def deployment(layout: Layout) -> dict[str, Any]:
    (layout.storage / "models/base").mkdir(parents=True)
    return {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "base", "namespace": "default"},
        "spec": {"model": {"uri": "models/base"}, "device": "cpu", "storage": {"claimName": "shared"}},
    }


def ask(layout: Layout, name: str, *options: str) -> Any:
    return CliRunner().invoke(finetune, ["chat", name, "--storage", str(layout.storage), *options])


def test_it_is_ready_after_a_generation_and_chats(start: Start, deployment: Any, layout: Layout) -> None:
    engine, runner = start(deployment)
    assert runner.until_settled().state is State.READY

    answer = ask(layout, "base", "-q", "Why?", "-q", "How?")

    assert answer.output == "You asked: Why?\nYou asked: How?\n"
    runner.shut_down()
    assert engine.parents[0]["status"]["phase"] == "ScaledToZero"
    assert "endpoint" not in engine.parents[0]["status"]


def bench(layout: Layout, *options: str) -> Any:
    return CliRunner().invoke(finetune, ["bench", "base", "--storage", str(layout.storage), *options])


def test_a_load_of_chats_is_measured(start: Start, deployment: Any, layout: Layout) -> None:
    """By the endpoint in its status; what a server that counts nothing answers is counted by its pieces."""
    _, runner = start(deployment)
    assert runner.until_settled().state is State.READY

    said = bench(layout, "--concurrency", "2", "--requests", "3", "-o", "json")

    (figures,) = json.loads(said.output)
    assert (figures["concurrency"], figures["requests"], figures["failed"]) == (2, 3, 0)
    assert figures["ttft"]["p50"] > 0
    shown = bench(layout, "--concurrency", "1", "--requests", "2").output.splitlines()
    assert shown[1].split()[:3] == ["1", "2", "0"]
    runner.shut_down()
    stopped = bench(layout)
    assert isinstance(stopped.exception, LocalError)
    assert "has no endpoint now" in str(stopped.exception)


def test_a_server_that_answers_no_chat_is_told(start: Start, deployment: Any) -> None:
    engine, runner = start(deployment)
    assert runner.until_settled().state is State.READY
    url = engine.parents[0]["status"]["endpoint"]

    wrong = CliRunner().invoke(finetune, ["bench", "another", "--url", url, "--concurrency", "1"])

    said = f"{url} answered no request: the server answers 500: . See the server's log"
    assert str(wrong.exception) == said
    runner.shut_down()


def test_health_alone_does_not_make_it_ready(start: Start, deployment: Any, fake: Path) -> None:
    (fake / "serve").write_text("unfit")
    engine, _ = start(deployment)
    for _ in range(30):
        engine.tick()
    assert engine.parents[0]["status"]["phase"] == "Loading"


def test_a_server_that_crashes_again_and_again_is_a_failure(
    start: Start, deployment: Any, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment_controller, "_FIRST_BACKOFF_SECONDS", 0.0)
    (fake / "serve").write_text("crash")
    _, runner = start(deployment)

    verdict = runner.until_settled()

    assert verdict.state is State.FAILED
    assert verdict.message == "The server ends with exit code 1: error: the model does not fit"


def test_adapters_change_while_the_server_runs(start: Start, deployment: Any) -> None:
    deployment["spec"]["adapters"] = [{"name": "tone", "uri": "adapters/tone"}]
    engine, runner = start(deployment)
    assert runner.until_settled().state is State.READY
    (pod,) = engine.store.of_kind("Pod")

    deployment["spec"]["adapters"] = [{"name": "terms", "uri": "adapters/terms"}]
    engine.apply([deployment])
    assert runner.until_settled().state is State.READY

    (same,) = engine.store.of_kind("Pod")
    name = same["metadata"]["name"]
    assert (name, same["metadata"]["uid"]) == (pod["metadata"]["name"], pod["metadata"]["uid"])
    told = engine.parents[0]["status"]["adapters"]
    assert told == [{"name": "terms", "path": "adapters/terms", "pods": [name]}]


@pytest.fixture
def signed(deployment: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Whose model must be signed, by a key that stands in the ConfigMap's place."""
    monkeypatch.setenv("MODEL_PUBLIC_KEY", "a key in PEM")
    key = {"publicKeyConfigMapRef": {"name": "keys", "key": "model.pub"}}
    deployment["spec"]["model"]["verifySignature"] = key
    return deployment


def test_a_signature_is_checked_before_the_server_starts(start: Start, signed: Any, fake: Path) -> None:
    (fake / "check").write_text("sleep")
    engine, _ = start(signed)
    until("the check runs", lambda: _ticked(engine, fake / "sleeping"))
    engine.tick()
    status = engine.parents[0]["status"]
    assert (status["phase"], status.get("readyReplicas", 0)) == ("Loading", 0)
    assert not (fake / "serve.calls").exists()


def _ticked(engine: Engine, file: Path) -> bool:
    engine.tick()
    return file.exists()


def test_a_signed_model_is_served(start: Start, signed: Any, fake: Path, layout: Layout) -> None:
    _, runner = start(signed)
    assert runner.until_settled().state is State.READY
    assert len((fake / "check.calls.0").read_text().split()) == 1
    assert ask(layout, "base", "-q", "Why?").output == "You asked: Why?\n"
    runner.shut_down()


def test_a_model_that_is_not_signed_is_not_served(
    start: Start, signed: Any, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment_controller, "_FIRST_BACKOFF_SECONDS", 0.0)
    (fake / "check").write_text("3")
    _, runner = start(signed)
    verdict = runner.until_settled()
    assert verdict.state is State.FAILED
    assert verdict.message == "The server ends with exit code 3: The check stage is broken. Mend it"


def test_an_inline_deployment_waits_for_its_job(start: Start, job: Job, layout: Layout) -> None:
    engine, runner = start(job(deployment={"device": "cpu"}))
    engine.tick()
    waiting = {p["kind"]: p.get("status", {}).get("phase") for p in engine.parents}
    run = engine.parents[0]["status"]["run"]
    (layout.storage / f"runs/default/faq/{run}/merged").mkdir(parents=True)

    assert runner.until_settled().state is State.READY

    assert waiting["FineTuneJob"] == "Pending"
    assert ask(layout, "faq", "-q", "Why?").output == "You asked: Why?\n"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        pytest.param("nobody", "there is no ModelDeployment default/nobody", id="unknown"),
        pytest.param("base", "does not answer", id="gone"),
    ],
)
def test_chat_says_what_is_wrong(
    start: Start, deployment: Any, layout: Layout, name: str, problem: str
) -> None:
    engine, runner = start(deployment)
    runner.until_settled()
    engine.kubelet.kill_all()

    result = ask(layout, name, "-q", "Why?")

    assert problem in str(result.exception)
