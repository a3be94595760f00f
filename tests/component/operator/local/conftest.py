"""A local engine whose images are fake commands."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune_operator.core.config import Images
from finetune_operator.local.engine import Engine
from finetune_operator.local.environments import Environments
from finetune_operator.local.layout import Layout
from finetune_operator.local.runner import Runner


def executable(path: Path, text: str) -> None:
    """Write a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture(autouse=True)
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder by which a test tells the fake stages what to do."""
    folder = tmp_path / "fake"
    folder.mkdir()
    monkeypatch.setenv("FAKE", str(folder))
    return folder


_PROGRAM = """#!/bin/sh
case "$2" in *find_spec*) exit 0 ;; esac
case "$1" in -c) exec {python} "$@" ;; esac
exec {python} {script} "$@"
"""


@pytest.fixture
def environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environments:
    """Environments whose programs are the fake stages and the fake server, where FINETUNE_ENVS says."""
    envs = tmp_path / "envs"
    scripts = {
        "trainer/bin/python": "fake_stages.py",
        "converter/bin/python": "fake_stages.py",
        "converter/bin/finetune-convert": "fake_stages.py",
        "server-cpu/bin/python": "fake_server.py",
        "server-cpu/bin/finetune-convert": "fake_stages.py",
    }
    for program, script in scripts.items():
        text = _PROGRAM.format(python=sys.executable, script=Path(__file__).with_name(script))
        executable(envs / program, text)
    monkeypatch.setenv("FINETUNE_ENVS", str(envs))
    return Environments.find(Images())


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A storage folder."""
    return Layout(storage=tmp_path / "storage")


@pytest.fixture
def start(layout: Layout, environments: Environments) -> Iterator[Callable[..., tuple[Engine, Runner]]]:
    """Start engines on the same storage folder, and leave no process of theirs behind."""
    engines: list[Engine] = []

    def start(*manifests: dict[str, Any]) -> tuple[Engine, Runner]:
        engine = Engine(layout, environments)
        engines.append(engine)
        engine.apply(manifests)
        return engine, Runner(engine, lambda _parents: None, period_seconds=0.02)

    yield start
    for engine in engines:
        engine.kubelet.kill_all()


@pytest.fixture
def job() -> Callable[..., dict[str, Any]]:
    """Return a manifest of a small job; keyword arguments are fields of the spec."""

    def job(**spec: Any) -> dict[str, Any]:
        base = {
            "model": {"uri": "models/tiny-base"},
            "flavor": "tiny_lora",
            "dataset": {"uri": "datasets/faq.jsonl"},
            "training": {"steps": 10},
            "workers": {"device": "cpu"},
            "storage": {"claimName": "shared"},
            "failurePolicy": {"maxRestarts": 2, "backoffSeconds": 0},
        }
        return {
            "apiVersion": "finetune.dev/v1alpha1",
            "kind": "FineTuneJob",
            "metadata": {"name": "faq", "namespace": "default"},
            "spec": {**base, **spec},
        }

    return job
