"""GET /progress of a training: from before its first step on, on rank 0."""

import json
import urllib.request
from types import SimpleNamespace

import pytest
import torch.distributed as dist
from waiting import HANG_SECONDS

from finetune_trainer.contract.progress import serve_progress
from finetune_trainer.contract.tracking import Tracking
from finetune_trainer.train import worker


@pytest.fixture
def one_process(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def port(monkeypatch):
    """The port that is served, which the system chooses."""
    monkeypatch.setenv("FINETUNE_PROGRESS_PORT", "0")
    ports = []

    def serve(read):
        served = serve_progress(read)
        enter = served.__enter__

        class Noted:
            def __enter__(self):
                ports.append(enter())

            def __exit__(self, *error):
                return served.__exit__(*error)

        return Noted()

    monkeypatch.setattr(worker, "serve_progress", serve)
    return ports


def told(port: int) -> dict:
    url = f"http://127.0.0.1:{port}/progress"
    with urllib.request.urlopen(url, timeout=HANG_SECONDS) as answer:
        return {name: value for name, value in json.loads(answer.read()).items() if value not in (None, [])}


@pytest.mark.usefixtures("one_process")
def test_a_base_that_is_loaded_is_told_and_then_the_steps(port, tmp_path):
    trainer = SimpleNamespace(
        checkpointer=SimpleNamespace(on_base_read=None, last_saved=None, listeners=[]),
        metrics_processor=SimpleNamespace(recorders=[]),
        config=SimpleNamespace(training=SimpleNamespace(steps=10)),
        step=3,
    )
    with worker._served_progress(trainer) as telling:
        assert told(*port) == {"stage": "train"}
        trainer.checkpointer.on_base_read(25, 100)
        loading = told(*port)
        assert (loading["bytesLoaded"], loading["bytesTotal"]) == (25, 100)
        run, folders = SimpleNamespace(tracking=Tracking()), SimpleNamespace(metrics=tmp_path / "m.jsonl")
        with worker._reported_progress(trainer, run, folders, telling):
            assert told(*port) == {"stage": "train", "step": 3, "totalSteps": 10}
