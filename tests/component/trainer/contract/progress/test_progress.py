"""What a stage says of itself, over real HTTP, and metrics.jsonl through crashes."""

import json
import os
import socket
import urllib.error
import urllib.request

import pytest
from waiting import HANG_SECONDS

from finetune_trainer.contract.progress import (
    FetchProgress,
    LoadProgress,
    Progress,
    TrainingProgress,
    serve_progress,
)
from finetune_trainer.contract.progress import training as training_module
from finetune_trainer.contract.progress.metrics_log import MetricsLog


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=HANG_SECONDS) as answer:
        return answer.read().decode()


@pytest.fixture(autouse=True)
def _any_port(monkeypatch):
    monkeypatch.setenv("FINETUNE_PROGRESS_PORT", "0")


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(training_module.time, "monotonic", lambda: Clock.now)
    return Clock


UNEVEN = {
    "expert_load": 2.5,
    "expert_rank_load": 1.25,
    "fullest_expert": "layer 3, expert 7",
    "slowest_rank": 3,
    "slowdown": 1.5,
}


def record(progress: TrainingProgress, step: int, **uneven) -> None:
    progress.record_step(step, loss=1.5, grad_norm=0.5, learning_rate=1e-3, tokens_per_second=100.0, **uneven)


def steps_in(file) -> list[int]:
    return [json.loads(line)["step"] for line in file.read_text().splitlines()]


def test_training_is_told_as_the_contract_says(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(training_module, "peak_memory", lambda: 2**30)
    progress = TrainingProgress(total_steps=10, metrics=tmp_path / "metrics.jsonl")
    clock.now += 2
    record(progress, 1)
    clock.now += 4
    record(progress, 2, **UNEVEN, rewards={"chosen": 0.5, "margin": 0.25, "accuracy": 0.75})
    progress.record_validation(2, 1.25)
    progress.record_checkpoint("step-2")
    assert progress.snapshot().to_json() == {
        "stage": "train",
        "step": 2,
        "totalSteps": 10,
        "loss": 1.5,
        "validationLoss": 1.25,
        "tokensPerSecond": 100.0,
        "expertLoad": 2.5,
        "expertRankLoad": 1.25,
        "slowestRank": 3,
        "slowdown": 1.5,
        "rewardMargin": 0.25,
        "rewardAccuracy": 0.75,
        "etaSeconds": 24.0,
        "lastCheckpoint": "step-2",
        "skippedCheckpoints": (),
        "samples": (),
        "samplesStep": None,
        "tracking": None,
        "peakMemoryBytes": 2**30,
        "bytesFetched": None,
        "bytesLoaded": None,
        "bytesTotal": None,
    }


def test_the_remaining_time_forgets_slow_beginnings(tmp_path, clock):
    progress = TrainingProgress(total_steps=100, metrics=tmp_path / "metrics.jsonl")
    clock.now += 1000  # compiling
    for step in range(1, 51):
        record(progress, step)
        clock.now += 1
    assert progress.snapshot().eta_seconds == pytest.approx(50)


def test_unreadable_checkpoints_of_a_resumed_run_stay_told(tmp_path):
    progress = TrainingProgress(total_steps=10, metrics=tmp_path / "metrics.jsonl", resumed_step=4)
    progress.record_checkpoint("step-4", ("step-6",))
    progress.record_checkpoint("step-8")
    told = progress.snapshot()
    assert (told.last_checkpoint, told.skipped_checkpoints) == ("step-8", ("step-6",))


def test_a_resumed_run_starts_at_its_step(tmp_path, clock):
    progress = TrainingProgress(total_steps=60, metrics=tmp_path / "metrics.jsonl", resumed_step=50)
    clock.now += 2
    record(progress, 51)
    assert progress.snapshot().eta_seconds == pytest.approx(18)


def test_progress_and_metrics_are_served():
    progress = Progress(stage="train", step=3, loss=float("nan"), tokens_per_second=10.0)
    with serve_progress(lambda: progress, labels={"name": "faq"}) as port:
        answer = json.loads(get(port, "/progress"))
        metrics = get(port, "/metrics")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(port, "/other")
    assert (answer["step"], answer["loss"], answer["etaSeconds"]) == (3, None, None)
    assert 'finetune_step{name="faq",stage="train"} 3.0' in metrics
    assert 'finetune_tokens_per_second{name="faq",stage="train"} 10.0' in metrics
    assert "finetune_eta_seconds" not in metrics


@pytest.mark.parametrize("port", [pytest.param(None, id="busy"), pytest.param("http", id="not-a-number")])
def test_a_port_that_cannot_be_had_stops_nothing(monkeypatch, port, caplog):
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        monkeypatch.setenv("FINETUNE_PROGRESS_PORT", port or str(other.getsockname()[1]))
        with serve_progress(lambda: Progress(stage="train")) as served:
            assert served is None
    assert "progress is not served" in caplog.text


def test_metrics_have_one_line_a_step(tmp_path):
    file = tmp_path / "run" / "metrics.jsonl"
    progress = TrainingProgress(total_steps=3, metrics=file)
    record(progress, 1)
    record(progress, 2, **UNEVEN)
    progress.record_validation(2, 1.0, {"a": 0.5, "b": float("nan")})
    progress.close()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 2]
    names = {"step", "loss", "gradNorm", "learningRate", "tokensPerSecond", "peakMemoryBytes", "time"}
    assert set(lines[0]) == names
    uneven = {"expertLoad", "expertRankLoad", "fullestExpert", "slowestRank", "slowdown"}
    assert set(lines[1]) == names | uneven
    assert set(lines[2]) == {"step", "validationLoss", "validationLossBySource", "time"}
    assert lines[2]["validationLossBySource"] == {"a": 0.5, "b": None}


@pytest.mark.parametrize(
    ("content", "resumed", "kept"),
    [
        pytest.param('{"step": 1}\n{"step": 2}\n{"step": 3}\n', 2, [1, 2], id="steps-after-the-checkpoint"),
        pytest.param('{"step": 1}\n{"step": 2}\n', 5, [1, 2], id="nothing-to-remove"),
        pytest.param('{"step": 1}\n{"step": 2', 5, [1], id="cut-off-by-a-crash"),
        pytest.param('{"step": 1}\n{"step": 2}', 5, [1], id="newline-cut-off"),
        pytest.param('{"step": 1}\nnonsense\n{"step": 2}\n', 5, [1, 2], id="damaged-line"),
        pytest.param("", 0, [], id="empty"),
        pytest.param('{"step": 0}\n', 0, [], id="validated-before-training-and-begun-anew"),
    ],
)
def test_a_resumed_run_repeats_no_line(tmp_path, content, resumed, kept):
    file = tmp_path / "metrics.jsonl"
    file.write_text(content)
    log = MetricsLog(file, resumed_step=resumed)
    assert steps_in(file) == kept
    log.append({"step": resumed + 1})
    log.close()
    assert steps_in(file) == [*kept, resumed + 1]


def test_a_line_that_cannot_be_written_stops_nothing(tmp_path, caplog):
    log = MetricsLog(tmp_path / "metrics.jsonl", resumed_step=0)
    (tmp_path / "metrics.jsonl").mkdir()
    log.append({"step": 1})
    log.close()
    assert "metrics.jsonl" in caplog.text


def test_a_volume_that_hangs_does_not_keep_a_step(tmp_path):
    file = tmp_path / "metrics.jsonl"
    log = MetricsLog(file, resumed_step=0)
    os.mkfifo(file)  # whose opening for writing waits for a reader
    for step in (1, 2, 3):
        log.append({"step": step})
    with file.open("rb") as reader:
        assert json.loads(reader.readline()) == {"step": 1}
        log.close()


def test_loading_is_told_by_bytes_and_by_the_time_left(clock):
    progress = LoadProgress()
    assert progress.snapshot() == Progress(stage="train")
    progress.record(0, 100)
    assert progress.snapshot() == Progress(stage="train", bytes_loaded=0, bytes_total=100)
    clock.now = 130.0
    progress.record(25, 100)
    assert progress.snapshot() == Progress(stage="train", bytes_loaded=25, bytes_total=100, eta_seconds=90.0)


def test_fetching_is_told_from_what_is_in_the_folder(tmp_path):
    progress = FetchProgress(tmp_path / "base")
    assert progress.snapshot() == Progress(stage="prepare")
    progress.expect(100)
    (tmp_path / "base" / ".cache").mkdir(parents=True)
    (tmp_path / "base" / ".cache" / "part.incomplete").write_bytes(b"x" * 30)
    told = progress.snapshot()
    assert (told.bytes_fetched, told.bytes_total) == (30, 100)
    assert told.eta_seconds is not None


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_both_families_of_addresses_are_listened_on():
    with serve_progress(lambda: Progress(stage="train")) as port:
        for host in ("127.0.0.1", "[::1]"):
            with urllib.request.urlopen(f"http://{host}:{port}/progress", timeout=5) as answer:
                assert json.load(answer)["stage"] == "train"
