"""`finetune run` as a process: exit codes, signals, and that nothing outlives it."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from waiting import HANG_SECONDS, until

from finetune_operator.cli import finetune
from finetune_operator.local.layout import Layout

Job = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.usefixtures("environments")
Launch = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def launch(layout: Layout, tmp_path: Path) -> Iterator[Launch]:
    """Start `finetune run` on a manifest."""
    processes = []

    def launch(manifest: dict[str, Any], *command: str) -> "subprocess.Popen[str]":
        file = tmp_path / "manifest.yaml"
        file.write_text(yaml.safe_dump(manifest))
        words = ["run", "-f", str(file), "--storage", str(layout.storage), "--", *command]
        code = "from finetune_operator.cli import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield launch
    for process in processes:
        process.kill()
        process.communicate()


def wait_for(done: Callable[[], bool]) -> None:
    until("what a test waits for", done)


def processes_below(folder: Path) -> list[str]:
    """Return the command lines of processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd").startswith(str(folder)):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_a_job_alone_ends_with_0(launch: Launch, job: Job) -> None:
    process = launch(job())
    out, err = process.communicate(timeout=HANG_SECONDS)
    assert (process.returncode, err) == (0, "")
    assert "FineTuneJob faq: Complete: The model is in the volume" in out


@pytest.mark.parametrize("code", [2, 3])
def test_a_failure_ends_with_the_stages_code_and_one_line(
    launch: Launch, job: Job, fake: Path, code: int
) -> None:
    (fake / "train").write_text(str(code))
    process = launch(job())
    _, err = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == code
    assert err.splitlines()[0] == "error: FineTuneJob faq: The train stage is broken. Mend it"
    assert Path(err.splitlines()[1].removeprefix("log: ")).exists()


def test_a_command_runs_when_ready_and_its_code_is_the_result(launch: Launch, job: Job) -> None:
    process = launch(job(), "sh", "-c", 'echo "$FINETUNE_STORAGE"; exit 7')
    out, _ = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 7
    assert out.splitlines()[-1].endswith("/storage")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly(launch: Launch, job: Job, fake: Path, layout: Layout, number: int) -> None:
    (fake / "train").write_text("sleep 0")
    process = launch(job())
    wait_for((fake / "sleeping").exists)

    process.send_signal(number)
    process.communicate(timeout=HANG_SECONDS)

    assert process.returncode == 128 + number
    assert (fake / "saved").exists()
    assert processes_below(layout.storage) == []
    again = launch(job())
    again.communicate(timeout=HANG_SECONDS)
    assert again.returncode == 0


def test_nothing_outlives_an_engine_that_is_killed(
    launch: Launch, job: Job, fake: Path, layout: Layout
) -> None:
    (fake / "train").write_text("daemon")
    process = launch(job())
    wait_for((fake / "sleeping").exists)
    assert processes_below(layout.storage) != []

    process.kill()

    wait_for(lambda: processes_below(layout.storage) == [])


def test_a_storage_folder_has_one_engine(launch: Launch, job: Job, fake: Path) -> None:
    (fake / "train").write_text("sleep")
    first = launch(job())
    wait_for((fake / "sleeping").exists)

    second = launch(job())
    _, err = second.communicate(timeout=HANG_SECONDS)

    assert second.returncode == 2
    assert err == (
        f"error: another `finetune run` (process {first.pid}) uses this storage folder. "
        "Stop it, or give this run another --storage\n"
    )


def test_status_prints_conditions(launch: Launch, job: Job, layout: Layout) -> None:
    launch(job()).communicate(timeout=HANG_SECONDS)

    result = CliRunner().invoke(finetune, ["status", "faq", "--storage", str(layout.storage)])

    assert result.exit_code == 0
    assert "Complete" in result.output
    assert "Nothing runs here now" in result.output


@pytest.mark.parametrize("change", ["edited", "touched", "gone", "added"])
def test_a_dataset_that_was_edited_since_the_run_is_said(
    launch: Launch, job: Job, layout: Layout, change: str
) -> None:
    folder = layout.storage / "datasets" / "chats"
    folder.mkdir(parents=True)
    data = folder / "faq.jsonl"
    data.write_text("as it was")
    manifest = job(dataset={"uri": "datasets/chats"})
    out, _ = launch(manifest).communicate(timeout=HANG_SECONDS)
    assert "warning" not in out
    record = {"size": 9, "sha256": hashlib.sha256(b"as it was").hexdigest(), "modified": 0}
    (run,) = layout.storage.glob("runs/default/faq/*")
    (run / "prepared.json").write_text(
        json.dumps({"dataset": {"files": {"datasets/chats/faq.jsonl": record}}})
    )

    if change == "edited":
        data.write_text("as it is.")
    elif change == "gone":
        data.unlink()
    elif change == "added":
        (folder / "more.jsonl").write_text("more")
    out, _ = launch(manifest).communicate(timeout=HANG_SECONDS)
    said = {"edited": f"{data} has changed since", "added": f"{folder / 'more.jsonl'} has changed since"}
    assert ("warning: FineTuneJob faq: " in out) == (change in said)
    assert said.get(change, "") in out
    result = CliRunner().invoke(finetune, ["status", "faq", "--storage", str(layout.storage)])
    assert ("give the job another name (metadata.name)" in result.output) == (change in said)


def test_a_deleted_job_may_come_back_with_another_spec(launch: Launch, job: Job, layout: Layout) -> None:
    launch(job()).communicate(timeout=HANG_SECONDS)
    refused = launch(job(training={"steps": 11}))
    assert (
        "spec.training cannot change once the job has started" in refused.communicate(timeout=HANG_SECONDS)[1]
    )
    assert refused.returncode == 2
    result = CliRunner().invoke(finetune, ["delete", "faq", "--storage", str(layout.storage)])
    assert (result.exit_code, result.output) == (0, "FineTuneJob default/faq deleted\n")
    again = launch(job(training={"steps": 11}))
    again.communicate(timeout=HANG_SECONDS)
    assert again.returncode == 0


def test_a_failed_job_is_tried_again_and_its_logs_are_shown(
    launch: Launch, job: Job, fake: Path, layout: Layout
) -> None:
    (fake / "train").write_text("3\n0")
    launch(job()).communicate(timeout=HANG_SECONDS)
    again = subprocess.run(
        [sys.executable, "-c", "from finetune_operator.cli import main; main()", "retry", "faq"],
        env=os.environ | {"FINETUNE_STORAGE": str(layout.storage)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (again.returncode, again.stderr) == (0, "")
    assert "FineTuneJob faq: Complete: The model is in the volume" in again.stdout
    assert (fake / "prepare.calls.0").read_text().count("\n") == 1
    refused = CliRunner().invoke(finetune, ["retry", "faq", "--storage", str(layout.storage)])
    assert str(refused.exception).startswith("FineTuneJob faq has not failed; it is Complete")


def test_data_that_is_refused_is_one_line(job: Job, layout: Layout, fake: Path, tmp_path: Path) -> None:
    file = tmp_path / "manifest.yaml"
    file.write_text(yaml.safe_dump(job()))
    (fake / "data").write_text("3")
    result = CliRunner().invoke(finetune, ["data", "-f", str(file), "--storage", str(layout.storage)])
    assert result.exit_code == 3
    assert result.output == "error: FineTuneJob default/faq: The data stage is broken. Mend it\n"


def test_more_gpus_than_the_machine_has(launch: Launch, job: Job) -> None:
    process = launch(job(workers={"gpusPerNode": 64}))
    _, err = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 2
    assert "FineTuneJob faq: spec.workers.gpusPerNode asks for 64 GPUs" in err


def test_an_environment_that_is_missing(launch: Launch, job: Job, tmp_path: Path) -> None:
    (tmp_path / "envs/converter/bin/python").write_text("#!/bin/sh\nexit 1\n")
    process = launch(job())
    _, err = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 2
    assert err.startswith("error: there is no environment for the converter image: ")
