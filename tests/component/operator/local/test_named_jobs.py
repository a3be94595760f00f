"""A job that starts from another one's adapter, on one machine, with real, short processes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune_operator.core.verdict import State
from finetune_operator.local.engine import Engine
from finetune_operator.local.errors import LocalError
from finetune_operator.local.layout import Layout
from finetune_operator.local.runner import Runner

Start = Callable[..., tuple[Engine, Runner]]
Job = Callable[..., dict[str, Any]]


@pytest.fixture
def second(job: Job) -> dict[str, Any]:
    """A job that starts from the adapter of faq."""
    manifest = job(lora={"from": {"fineTuneJobRef": {"name": "faq"}}})
    return {**manifest, "metadata": {**manifest["metadata"], "name": "second"}}


def test_it_trains_after_the_job_that_it_starts_from(
    start: Start, job: Job, second: dict[str, Any], fake: Path
) -> None:
    engine, runner = start(second, job())
    assert runner.until_settled().state is State.READY
    started = {parent["metadata"]["name"]: parent["status"] for parent in engine.parents}
    assert started["faq"]["completionTime"] <= started["second"]["completionTime"]
    run_files = [config_map["data"]["run.json"] for config_map in engine.store.of_kind("ConfigMap")]
    sources = {run["name"]: run["lora"]["from"] for run in map(json.loads, run_files)}
    path = started["faq"]["adapterPath"]
    assert sources == {"faq": None, "second": {"uri": path, "path": path, "revision": None}}
    assert len((fake / "train.calls.0").read_text().split()) == 2


def test_and_later_too(start: Start, job: Job, second: dict[str, Any]) -> None:
    start(job())[1].until_settled()
    assert start(second)[1].until_settled().state is State.READY


@pytest.mark.parametrize(
    ("before", "said"),
    [
        pytest.param(None, "FineTuneJob faq is not there", id="nobody knows it"),
        pytest.param("3", "FineTuneJob faq has trained no adapter", id="it failed"),
    ],
)
def test_one_that_nobody_trains_is_refused_at_once(
    start: Start, job: Job, second: dict[str, Any], fake: Path, layout: Layout, before: str | None, said: str
) -> None:
    if before:
        (fake / "train").write_text(before)
        start(job())[1].until_settled()
    with pytest.raises(LocalError, match=f"second: lora.from: {said}"):
        start(second)
    assert not (layout.storage / "runs/default/second").exists()
