"""The trainer image's two commands as a container runs them: prepare, train, stop, resume."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from random_base import write_tiny_base
from waiting import HANG_SECONDS, until

pytestmark = pytest.mark.chain
GOLDEN = Path(__file__).parents[2] / "golden" / "run" / "quickstart.json"
# Of the run that is stopped: more than it makes before anybody has seen the third, on any machine.
CHARTS = [
    "Loss",
    "Learning rate",
    "Gradient norm",
    "Tokens a second, all processes",
    "Tokens of experts, over the mean",
    "Time of the slowest rank",
    "Peak memory of the first process, GiB",
]
MANY_STEPS = 10_000


class Container:
    """Runs the image's commands on one volume."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "volume"
        self.log = folder / "termination-log"
        self.run_file = folder / "run.json"
        self.document: dict[str, Any] = json.loads(GOLDEN.read_text())
        self.document["training"] |= {
            "steps": MANY_STEPS,
            "sequenceLength": 64,
            "checkpoint": {"interval": 10, "keep": 2},
        }
        self.document["dataset"]["validationShare"] = 0.1
        sources = self.document["dataset"]["sources"]
        sources[0]["format"] = "text"
        sources.append({**sources[0], "uri": "datasets/more.jsonl", "path": "datasets/more.jsonl"})
        self.write()
        self.run = self.root / self.document["paths"]["run"]
        self.port = free_port()
        self.processes: list[subprocess.Popen[str]] = []

    def write(self) -> None:
        """Write the run file."""
        self.run_file.write_text(json.dumps(self.document))

    def start(self, stage: str) -> "subprocess.Popen[str]":
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "FINETUNE_TERMINATION_LOG": str(self.log),
            "FINETUNE_PROGRESS_PORT": str(self.port),
        }
        command = [sys.executable, "-m", "finetune_trainer", stage]
        arguments = ["--run", str(self.run_file), "--root", str(self.root)]
        self.processes.append(
            subprocess.Popen([*command, *arguments], env=environment, stderr=subprocess.PIPE, text=True)
        )
        return self.processes[-1]

    def stop(self) -> None:
        """Leave no process and no pipe behind, however the test ended."""
        for process in self.processes:
            process.kill()
            process.communicate()

    def progress(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/progress", timeout=2) as answer:
                content: dict[str, Any] = json.load(answer)
                return content
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return {}

    def metrics(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.run / "metrics.jsonl").read_text().splitlines()]

    def logged_steps(self) -> list[int]:
        return [line["step"] for line in self.metrics() if "loss" in line]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def container(tmp_path):
    container = Container(tmp_path)
    write_tiny_base(container.root / container.document["paths"]["base"])
    dataset = container.root / container.document["dataset"]["sources"][0]["path"]
    dataset.parent.mkdir(parents=True)
    texts = [" ".join(f"t{(line * 31 + word * 7) % 4000}" for word in range(20)) for line in range(40)]
    dataset.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    shutil.copy(dataset, dataset.with_name("more.jsonl"))
    yield container
    container.stop()


def finish(process):
    _, error = process.communicate(timeout=HANG_SECONDS)
    return process.returncode, error


def wait_for_step(container, process, step):
    def look():
        assert process.poll() is None, process.stderr.read()
        told = container.progress()
        return told if (told.get("step") or 0) >= step else None  # null while the base is loaded

    return until(f"step {step}", look)


def test_prepare_then_train_stopped_and_resumed(container):
    code, error = finish(container.start("prepare"))
    assert code == 0, error
    report = json.loads((container.run / "data-report.json").read_text())
    assert (report["lines"], report["validationDocuments"]) == (80, 8)

    training = container.start("train")
    told = wait_for_step(container, training, 3)
    assert told["stage"] == "train"
    assert told["totalSteps"] == MANY_STEPS
    assert told["loss"] > 0
    training.send_signal(signal.SIGTERM)
    code, error = finish(training)
    assert code == 143, error
    assert json.loads(container.log.read_text())["reason"] == "Stopped"
    stopped_after = container.logged_steps()[-1]
    assert (container.run / "checkpoints" / f"step-{stopped_after}").is_dir()
    assert "stopped by SIGTERM" in (container.run / "report.html").read_text()

    steps = container.document["training"]["steps"] = stopped_after + 15
    container.write()
    code, error = finish(container.start("train"))
    assert code == 0, error
    assert container.logged_steps() == list(range(1, steps + 1))
    assert (container.run / "adapter" / "adapter_model.safetensors").exists()
    report = (container.run / "report.html").read_text()
    assert "stopped by SIGTERM" not in report
    assert re.findall(r'aria-label="(.*) by step"', report) == CHARTS
    _check_validation(container, last=steps)


def _check_validation(container, *, last):
    """Each source has its loss, and the pod tells at its end which step the adapter is."""
    names = {source["uri"] for source in container.document["dataset"]["sources"]}
    validated = [line for line in container.metrics() if "validationLoss" in line]
    assert [line["step"] for line in validated if line["step"] in (0, last)] == [0, last]
    for line in validated:
        losses = line["validationLossBySource"]
        assert losses.keys() == names
        assert min(losses.values()) <= line["validationLoss"] <= max(losses.values())
    told = json.loads(container.log.read_text())["selection"]
    assert (told["step"], told["validationLoss"]) == (last, validated[-1]["validationLoss"])
