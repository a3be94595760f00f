"""Where `status`, `watch` and `chat` look, and what they say when nothing is there."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from kubernetes import client

from finetune_operator.cli import finetune
from finetune_operator.client.cluster import Cluster
from finetune_operator.local.clock import Clock
from finetune_operator.local.errors import LocalError
from finetune_operator.local.store import Store

CLUSTER = "there is no cluster to ask"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, and a kubeconfig that is not there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    monkeypatch.delenv("FINETUNE_STORAGE", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("program", "folder", "words", "problem"),
    [
        pytest.param("finetune", None, [], CLUSTER, id="the cluster"),
        pytest.param("finetune", ".finetune", [], "/.finetune", id="a folder that is there"),
        pytest.param("finetune", ".finetune", ["--storage", "x"], "/x", id="the folder that is named"),
        pytest.param("finetune", ".finetune", ["--context", "x"], CLUSTER, id="the context that is named"),
        pytest.param("kubectl-finetune", ".finetune", [], CLUSTER, id="a plugin of kubectl"),
        pytest.param("kubectl-finetune", None, ["--storage", "x"], "/x", id="a plugin that is told"),
    ],
)
def test_where_it_looks(here: Path, program: str, folder: str | None, words: list[str], problem: str) -> None:
    if folder:
        (here / folder).mkdir()
    result = CliRunner().invoke(finetune, ["status", "faq", *words], prog_name=program)
    assert isinstance(result.exception, LocalError)
    assert problem in str(result.exception).partition(". ")[0]


def put(here: Path, **status: Any) -> None:
    store = Store(here / ".finetune" / "status", Clock())
    metadata = {"name": "faq", "namespace": "default"}
    manifest = {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": metadata,
        "spec": {},
    }
    store.apply({**manifest, "status": {"observedGeneration": 1, **status}})


def condition(type_: str, message: str) -> dict[str, Any]:
    return {"conditions": [{"type": type_, "status": "True", "reason": "R", "message": message}]}


def test_watch_ends_when_everything_is_ready(here: Path) -> None:
    put(here, progress={"stage": "train", "step": 10, "totalSteps": 10}, **condition("Complete", "Done"))
    result = CliRunner().invoke(finetune, ["watch", "faq"])
    assert (result.exit_code, result.output) == (0, "FineTuneJob faq: train: step 10/10\n")


def test_watch_fails_with_what_failed(here: Path) -> None:
    put(here, **condition("Stalled", "It broke. Mend it"))
    result = CliRunner().invoke(finetune, ["watch", "faq"])
    assert (result.exit_code, result.stderr) == (1, "error: FineTuneJob faq: It broke. Mend it\n")


def deployment(ready: int) -> dict[str, Any]:
    status = {"endpoint": "http://faq-server.team.svc:8000", "readyReplicas": ready, "phase": "Loading"}
    return {"metadata": {"name": "faq", "namespace": "team"}, "spec": {}, "status": status}


@pytest.fixture
def kubectl(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubectl that writes down its arguments and does what the test puts into `then`."""
    program = here / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" > {here}/arguments\n. {here}/then\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")
    return here / "then"


def test_a_deployment_is_reached_through_kubectl(here: Path, kubectl: Path) -> None:
    kubectl.write_text("echo 'Forwarding from 127.0.0.1:4711 -> 8000'\nexec sleep 60")
    cluster = Cluster(api=client.ApiClient(), context="lab", namespace="team")
    with cluster.endpoint(deployment(1)) as url:
        assert url == "http://127.0.0.1:4711"
    assert (here / "arguments").read_text().split() == [
        *("--context=lab", "--namespace=team", "port-forward", "service/faq-server", ":8000")
    ]


def test_kubectl_says_why_it_cannot(kubectl: Path) -> None:
    kubectl.write_text("echo 'no pod' >&2\nexit 1")
    cluster = Cluster(api=client.ApiClient(), context=None, namespace="team")
    with pytest.raises(LocalError, match="cannot forward a port: no pod"), cluster.endpoint(deployment(1)):
        pass


def test_a_deployment_that_does_not_answer_yet() -> None:
    cluster = Cluster(api=client.ApiClient(), context=None, namespace="team")
    with pytest.raises(LocalError, match="no replica that answers; it is Loading"):
        cluster.endpoint(deployment(0)).__enter__()
