"""A trainer process killed under the launcher that a pod starts: how long until the next attempt trains."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from finetune_trainer.data.document import Document
from finetune_trainer.data.packing import Members, pack
from finetune_trainer.data.store import TokenStore
from finetune_trainer.prepare.marker import FileRecord, Marker
from full_width_data import batch

INTERVAL = 5
KILLED_AFTER = 7
SECONDS = 150
# What the worker logs when it has met the others, and when the base is read.
MARKS = {"met": "preflight: ", "loaded": "of the base in"}


class Attempt:
    """A pod's command; when each mark came in its output, and each step in metrics.jsonl."""

    def __init__(self, command: list[str], environment: Mapping[str, str], metrics: Path) -> None:
        self.started = time.monotonic()
        self.seen: dict[str, float] = {}
        self.lines: list[str] = []
        self._metrics = metrics
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for_step(self, step: int) -> float:
        """When this attempt wrote the step or a later one. Raises RuntimeError if it ends or takes long.

        An attempt that resumes first removes the lines of the steps that it repeats.
        """
        fewest = len(_steps(self._metrics))
        while True:
            written = _steps(self._metrics)
            fewest = min(fewest, len(written))
            if len(written) > fewest and written[-1] >= step:
                return time.monotonic()
            if self.process.poll() is not None or time.monotonic() - self.started > SECONDS:
                raise RuntimeError(f"no step {step}: {self.lines[-6:]}")
            time.sleep(0.01)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            for name, mark in MARKS.items():
                if mark in line:
                    self.seen.setdefault(name, time.monotonic())


def killed_and_resumed(
    folder: Path, base: Path, gpus: int, settings: Mapping[str, Any], environment: Mapping[str, str]
) -> dict[str, Any]:
    command, metrics = _prepared(folder, base, gpus, settings)
    environment = {**environment, "FINETUNE_TERMINATION_LOG": str(folder / "termination.json")}
    attempts: list[Attempt] = []
    try:
        attempts.append(Attempt(command, environment, metrics))
        attempts[0].wait_for_step(KILLED_AFTER)
        killed = time.monotonic()
        os.kill(_workers(attempts[0].process.pid)[-1], signal.SIGKILL)
        code = attempts[0].process.wait(SECONDS)
        ended = time.monotonic()
        attempts.append(Attempt(command, environment, metrics))
        first = attempts[1].wait_for_step(1)
        seen = attempts[1].seen
        return {
            "exitCode": code,
            "interval": INTERVAL,
            "killedAfterStep": KILLED_AFTER,
            "firstStepAfter": _steps(metrics)[-1],
            "seconds": round(first - killed, 1),
            "detectSeconds": round(ended - killed, 1),
            "startSeconds": round(seen["met"] - ended, 1),
            "loadSeconds": round(seen["loaded"] - seen["met"], 1),
            "compileAndFirstStepSeconds": round(first - seen["loaded"], 1),
        }
    except Exception as error:  # the other cases go on
        return {"failed": [repr(error)[-1500:], *(attempts[-1].lines[-20:] if attempts else [])]}
    finally:
        for attempt in attempts:
            _end(attempt.process)


def _prepared(folder: Path, base: Path, gpus: int, settings: Mapping[str, Any]) -> tuple[list[str], Path]:
    """The train stage's command, with everything there that it needs of prepare; and its metrics.jsonl."""
    training = {"steps": 1000, "checkpoint": {"interval": INTERVAL, "keep": 2, "adapters": False}}
    return prepared_run(folder, base, gpus, settings, training)


def prepared_run(
    folder: Path, base: Path, gpus: int, settings: Mapping[str, Any], training: Mapping[str, Any]
) -> tuple[list[str], Path]:
    """The same of a case's settings with fields of run.json's `training` besides."""
    from several_gpus_rank import DEFAULTS, run_document

    document = run_document(Namespace(**{**DEFAULTS, **settings}), gpus)
    document["training"] |= training
    paths = document["paths"]
    run = folder / paths["run"]
    (folder / paths["base"]).parent.mkdir(parents=True)
    (folder / paths["base"]).symlink_to(base.resolve())
    files = {
        file.name: FileRecord(size=file.stat().st_size, sha256="", modified=file.stat().st_mtime_ns)
        for file in base.glob("*.safetensors")
    }
    Marker(source="bench", revision=None, files=files).write(base)
    _write_tokens(run / "tokens", settings["length"])
    (run / "prepared.json").write_text("{}")
    (folder / "run.json").write_text(json.dumps(document))
    options = ["train", "--run", str(folder / "run.json"), "--root", str(folder)]
    return [sys.executable, "-m", "finetune_trainer", *options], run / "metrics.jsonl"


def _write_tokens(folder: Path, length: int) -> None:
    sequences = torch.cat([batch(step, batch_size=2, length=length) for step in range(16)])
    documents = (
        Document(tokens=tokens, trained=[True] * len(tokens), line=line)
        for line, tokens in enumerate(sequences.tolist(), start=1)
    )
    store = TokenStore.write(documents, folder)
    sources = [Members(documents=torch.arange(len(store)))]
    pack(folder / "training", lengths=store.lengths(), sources=sources, sequence_length=length, seed=0)


def _steps(metrics: Path) -> list[int]:
    if not metrics.exists():
        return []
    whole = metrics.read_text().rpartition("\n")[0].splitlines()
    return [json.loads(line)["step"] for line in whole]


def _workers(agent: int) -> list[int]:
    children = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
    return [child for child in map(int, children) if "finetune_trainer.train.worker" in _command_line(child)]


def _command_line(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def _end(process: "subprocess.Popen[str]") -> None:
    workers = _workers(process.pid) if process.poll() is None else []
    for worker in workers:  # no checkpoint is wanted of them
        os.kill(worker, signal.SIGKILL)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
