"""`finetune retry` and `finetune logs` in a storage folder: what is refused, and what is shown."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from finetune_operator.cli import finetune
from finetune_operator.core.objects import Manifest
from finetune_operator.local.clock import Clock
from finetune_operator.local.layout import Layout
from finetune_operator.local.store import Store


def failed(reason: str = "DataInvalid", message: str = "Line 3 is no JSON. Correct it") -> dict[str, Any]:
    return {"type": "Failed", "status": "True", "reason": reason, "message": message}


def _reference(owner: Manifest) -> Manifest:
    metadata = owner["metadata"]
    return {key: owner[key] for key in ("apiVersion", "kind")} | {k: metadata[k] for k in ("name", "uid")}


def put(folder: Path, kind: str, name: str, owner: Manifest | None = None, **fields: Any) -> Manifest:
    owned = {"ownerReferences": [_reference(owner)]} if owner else {}
    labels = {"app.kubernetes.io/component": fields.pop("stage", "train")}
    metadata = {"name": name, "namespace": "default", "labels": labels, **owned}
    version = "finetune.dev/v1alpha1" if kind == "FineTuneJob" else "v1"
    store = Store(Layout(storage=folder).objects, Clock())
    return store.apply({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": {}, **fields})


def ask(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(finetune, [*words, "--storage", str(folder)])


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        pytest.param(
            {"phase": "Training", "conditions": []},
            "FineTuneJob faq has not failed; it is Training",
            id="runs",
        ),
        pytest.param({}, "FineTuneJob faq has not failed; it is new", id="new"),
        pytest.param(
            {"startTime": "t", "conditions": [failed("DeadlineExceeded")]},
            "FineTuneJob faq took longer than it may. Raise scheduling.activeDeadlineSeconds",
            id="deadline",
        ),
        pytest.param(
            {"conditions": [failed("DoesNotFit", "It needs 90 GB")]},
            "FineTuneJob faq was never started: It needs 90 GB. Change its spec",
            id="does not fit",
        ),
        pytest.param(
            {
                "startTime": "t",
                "conditions": [
                    failed("TrainingNeedsMoreMemory", "It needs 90 GB"),
                    {"type": "Fits", "status": "False", "reason": "TrainingNeedsMoreMemory"},
                ],
            },
            "FineTuneJob faq does not fit: It needs 90 GB. Change its spec",
            id="does not fit, as prepare has told",
        ),
    ],
)
def test_a_retry_that_does_not_help_is_refused(tmp_path: Path, status: Manifest, problem: str) -> None:
    put(tmp_path, "FineTuneJob", "faq", status=status)
    result = ask(tmp_path, "retry", "faq")
    assert problem in str(result.exception)


def test_a_retry_of_nothing(tmp_path: Path) -> None:
    assert "there is no FineTuneJob default/faq" in str(ask(tmp_path, "retry", "faq").exception)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A job whose two stages have written, and whose status says that it is over."""
    job = put(tmp_path, "FineTuneJob", "faq", status={"observedGeneration": 1, "conditions": [failed()]})
    for stage, text in (("prepare", "fetched\n"), ("train", "step 1\nstep 2\nhalf a li")):
        batch_job = put(tmp_path, "Job", f"faq-{stage}", job)
        spec = {"containers": [{"name": "main"}]}
        put(tmp_path, "Pod", f"faq-{stage}-0", batch_job, spec=spec, stage=stage)
        log = Layout(storage=tmp_path).log("default", f"faq-{stage}-0")
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        pytest.param(
            [],
            ["faq-prepare-0 main: fetched", "faq-train-0 main: step 1", "faq-train-0 main: step 2"],
            id="everything",
        ),
        pytest.param(
            ["--tail", "1"], ["faq-prepare-0 main: fetched", "faq-train-0 main: step 2"], id="the last lines"
        ),
        pytest.param(["--stage", "prepare"], ["faq-prepare-0 main: fetched"], id="a stage"),
        pytest.param(
            ["--follow", "--stage", "train", "--tail", "1"],
            ["faq-train-0 main: step 2"],
            id="to be followed, of a job that is over",
        ),
    ],
)
def test_logs_are_shown_with_their_pods(written: Path, words: list[str], lines: list[str]) -> None:
    result = ask(written, "logs", "faq", *words)
    assert (result.exit_code, result.output.splitlines()) == (0, lines)


def test_no_log_is_said(written: Path) -> None:
    result = ask(written, "logs", "faq", "--stage", "merge")
    assert str(result.exception) == (
        "no pod of faq that is still there has written anything. "
        "`finetune status faq` says what it waits for or came to"
    )
