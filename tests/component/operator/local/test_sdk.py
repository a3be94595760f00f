"""The Python client on this machine: the guide's blocks and the notebook, and what goes wrong."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from guide_code import ROOT, guide_code, notebook_code, run_code
from waiting import until

from finetune_operator import Client, FineTuneJob, InvalidManifestsError, ModelDeployment, RunFailedError
from finetune_operator.local.errors import LocalError
from finetune_operator.local.layout import Layout

Job = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.usefixtures("environments")


@pytest.fixture
def client(layout: Layout) -> Iterator[Client]:
    with Client(storage=layout.storage) as client:
        yield client


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that the guide is read in."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("repository")
def test_the_guide(capsys: pytest.CaptureFixture[str]) -> None:
    run_code(guide_code("sdk.md", "## On this machine"), "sdk.md")
    assert "\nYou asked: How do I resume a stopped run?\n" in capsys.readouterr().out


@pytest.mark.usefixtures("repository")
def test_the_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    run_code(notebook_code("sdk.ipynb"), "sdk.ipynb")
    assert (
        "You asked: How do I resume a stopped run?\n.demo/runs/default/notebook/" in capsys.readouterr().out
    )


def test_what_goes_wrong_as_the_guide_says(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    for block in guide_code("sdk.md", "## What goes wrong"):
        exec(compile(block, "sdk.md", "exec"), {"client": client})
    lines = capsys.readouterr().out.splitlines()
    assert "spec.model: is required; add it" in lines
    assert lines[-1].startswith("there is no FineTuneJob or ModelDeployment default/nobody in ")


def test_a_failure_is_what_the_stage_said_and_a_retry_goes_on(client: Client, job: Job, fake: Path) -> None:
    (fake / "train").write_text("3\n0")
    client.submit(job())
    with pytest.raises(RunFailedError) as failed:
        client.wait("faq")
    assert str(failed.value) == "FineTuneJob faq has failed: The train stage is broken. Mend it"
    assert client.retry("faq") == "train"
    assert client.wait("faq").status.phase == "Complete"
    assert (fake / "prepare.calls.0").read_text().count("\n") == 1


def test_a_job_is_submitted_while_another_runs_and_both_are_deleted(
    client: Client, job: Job, fake: Path, layout: Layout
) -> None:
    (fake / "train").write_text("sleep\n0")
    client.submit(FineTuneJob.model_validate(job()))
    until("the first trains", (fake / "sleeping").exists)
    other = job()
    client.submit({**other, "metadata": {"name": "other"}})
    assert client.wait("other").status.phase == "Complete"
    assert client.get("faq").status.phase == "Training"
    client.delete("faq")
    client.delete("other")
    assert (fake / "saved").exists()
    assert not list(layout.objects.glob("*/*/*.yaml"))


def test_what_was_stopped_goes_on(layout: Layout, job: Job, fake: Path) -> None:
    (fake / "train").write_text("sleep\n0")
    with Client(storage=layout.storage) as first:
        first.submit(job())
        until("it trains", (fake / "sleeping").exists)
    assert (fake / "saved").exists()
    with Client(storage=layout.storage) as again:
        with pytest.raises(LocalError, match="is not ready, and nothing runs here"):
            again.wait("faq")
        again.submit(job())
        again.wait("faq")
    assert (fake / "prepare.calls.0").read_text().count("\n") == 1


def test_another_engine_of_the_folder_is_named(layout: Layout, job: Job, fake: Path) -> None:
    (fake / "train").write_text("sleep")
    with Client(storage=layout.storage) as first, Client(storage=layout.storage) as second:
        first.submit(job())
        until("it trains", (fake / "sleeping").exists)
        with pytest.raises(LocalError, match="uses this storage folder"):
            second.submit({**job(), "metadata": {"name": "other"}})
        with pytest.raises(TimeoutError, match="FineTuneJob faq is not ready after 0 seconds"):
            second.wait("faq", timeout=0)


@pytest.mark.parametrize(
    ("submit", "problem"),
    [
        pytest.param(
            lambda job: {**job(), "kind": "Job"},
            "kind: is 'Job'; use one of FineTuneJob, ModelDeployment",
            id="kind",
        ),
        pytest.param(
            lambda job: job(trainin={}), "spec.trainin: is no field here; did you mean training?", id="field"
        ),
        pytest.param(
            lambda _job: "none.yaml", "none.yaml: cannot be read (No such file or directory)", id="file"
        ),
    ],
)
def test_what_is_wrong_is_a_line(client: Client, job: Job, submit: Any, problem: str) -> None:
    with pytest.raises(InvalidManifestsError) as invalid:
        client.submit(submit(job))
    assert problem in str(invalid.value)


def test_a_change_of_what_has_started_is_refused(client: Client, job: Job) -> None:
    client.submit(job())
    client.wait("faq")
    with pytest.raises(LocalError, match=r"spec\.training cannot change once the job has started"):
        client.submit(job(training={"steps": 11}))


def test_what_only_clusters_have_is_said(client: Client, job: Job, caplog: pytest.LogCaptureFixture) -> None:
    overrides = {"volumes": [{"name": "x", "emptyDir": {}}]}
    with caplog.at_level(logging.WARNING):
        client.submit(job(workers={"device": "cpu", "podOverrides": overrides}))
    client.wait("faq")
    assert "spec.workers.podOverrides.volumes is for clusters, and left out on one machine." in caplog.text


def test_a_deployment_that_is_not_there_is_not_waited_for(client: Client, job: Job) -> None:
    client.submit(job())
    client.wait("faq")
    with pytest.raises(LocalError, match="there is no ModelDeployment default/faq"):
        client.wait("faq", ModelDeployment)
