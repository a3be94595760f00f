"""Trackers that are told a run's metrics: read back as their own tools read them, away, slow and absent."""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event
from urllib.request import urlopen

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from waiting import until

from finetune_trainer.contract.failure import ConfigurationError
from finetune_trainer.contract.run_file import RunFile, RunFolders, load_run
from finetune_trainer.contract.tracking import Mlflow, TensorBoard, Tracking, Trackio, Wandb
from finetune_trainer.tracking import check_trackers, open_trackers
from finetune_trainer.tracking.background import BackgroundTracker

GOLDEN = Path(__file__).parents[3] / "golden" / "run"
OFFLINE = Wandb(project="finetune", entity=None, base_url=None, offline=True)


def run_file() -> RunFile:
    return load_run(GOLDEN / "quickstart.json")


@pytest.fixture
def folders(tmp_path: Path) -> RunFolders:
    folders = RunFolders(root=tmp_path, paths=run_file().paths)
    folders.run.mkdir(parents=True)
    return folders


def asking(**trackers: object) -> RunFile:
    return replace(run_file(), tracking=Tracking(**trackers))  # type: ignore[arg-type]


def tell(run: RunFile, folders: RunFolders, steps: range, resumed: int = 0) -> dict[str, str]:
    """Tell a loss a step, which is a hundred over the step; returns the places."""
    places: dict[str, str] = {}
    trackers = open_trackers(run, folders, resumed, places.__setitem__)
    for step in steps:
        for tracker in trackers:
            tracker.log(step, {"train/loss": 100 / step, "validation/loss/hf://a/b": 1.0})
    for tracker in trackers:
        tracker.close()
    return places


def test_tensorboard_shows_each_step_of_all_attempts_once(folders: RunFolders) -> None:
    run = asking(tensorboard=TensorBoard())
    places = tell(run, folders, range(1, 8))
    tell(run, folders, range(5, 11), resumed=4)
    assert places == {"tensorboard": f"{run.paths.run}/tensorboard"}
    events = EventAccumulator(str(folders.run / "tensorboard"))
    events.Reload()
    seen = {event.step: event.value for event in events.Scalars("train/loss")}
    assert seen == pytest.approx({step: 100 / step for step in range(1, 11)})
    assert (
        "| training.learning_rate |"
        in events.Tensors("run/text_summary")[0].tensor_proto.string_val[0].decode()
    )


def test_wandb_writes_a_run_that_may_be_synced(folders: RunFolders) -> None:
    places = tell(asking(wandb=OFFLINE), folders, range(1, 4))
    assert places == {"wandb": f"{run_file().paths.run}/wandb"}
    (file,) = folders.run.glob("wandb/offline-run-*/*.wandb")
    assert file.stem == f"run-default-faq-{run_file().run}"
    # The names of a step's values are plain in it; what reads it is W&B's server.
    assert file.read_bytes().count(b"train/loss") >= 3


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow's own tracking server, over HTTP; its address."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store = ["--backend-store-uri", (folder / "runs").as_uri(), "--workers", "1"]
    where = ["--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *store, *where],
            env={**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert server.poll() is None, (folder / "log").read_text()
        try:
            return bool(urlopen(f"{address}/health").status == 200)
        except OSError:
            return False

    try:
        until("MLflow's server answers", answers)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_mlflow_goes_on_with_the_run(folders: RunFolders, mlflow_server: str) -> None:
    run = asking(mlflow=Mlflow(uri=mlflow_server, experiment="finetune"))
    first = tell(run, folders, range(1, 4))
    assert tell(run, folders, range(4, 6), resumed=3) == first
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=mlflow_server)
    identifier = first["mlflow"].rpartition("/")[2]
    found = client.get_run(identifier)
    assert (found.info.run_name, found.info.status) == (f"faq-{run.run}", "FINISHED")
    assert found.data.params["training.sequence_length"] == str(run.training.sequence_length)
    history = client.get_metric_history(identifier, "train/loss")
    assert [(metric.step, metric.value) for metric in history] == [(step, 100 / step) for step in range(1, 6)]
    assert client.get_metric_history(identifier, "validation/loss/hf:/a/b")


class Stuck:
    """A tracker that hangs until the test ends."""

    place = "nowhere"

    def __init__(self) -> None:
        self.free = Event()
        self.told: list[int] = []

    def log(self, step: int, _values: Mapping[str, float]) -> None:
        self.free.wait()
        self.told.append(step)

    def close(self) -> None:
        pass


def test_one_that_hangs_stops_nothing_and_says_once_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    stuck = Stuck()
    tracker = BackgroundTracker("x", lambda: stuck, lambda *_: None, most_waiting=2, seconds_to_close=0.1)
    with caplog.at_level(logging.WARNING):
        tracker.log(1, {})
        until("the first is being told", lambda: tracker._waiting.empty())
        for step in range(2, 8):
            tracker.log(step, {})
        tracker.close()
    stuck.free.set()
    slow, lost = (record.message for record in caplog.records)
    assert "tracking.x is too slow or away: step 4 and what follows is not told" in slow
    assert lost.startswith("tracking.x was not told ")
    until("it catches up", lambda: stuck.told == [1, 2, 3])


def test_one_that_cannot_be_opened_is_said_without_its_key(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "s3cret")

    def away() -> Stuck:
        raise ConnectionError("no route for s3cret\nand more")

    with caplog.at_level(logging.WARNING):
        tracker = BackgroundTracker("wandb", away, lambda *_: None)
        tracker.log(1, {})
        tracker.log(2, {})
        tracker.close()
    assert [record.message for record in caplog.records] == [
        "tracking.wandb is not told this attempt: ConnectionError: no route for ***",
        "tracking.wandb was not told 2 steps' metrics; metrics.jsonl has all of them",
    ]


def test_one_that_refuses_a_step_is_told_the_next(caplog: pytest.LogCaptureFixture) -> None:
    class Picky(Stuck):
        def log(self, step: int, _values: Mapping[str, float]) -> None:
            if step == 1:
                raise ValueError("not 1")
            self.told.append(step)

    picky = Picky()
    with caplog.at_level(logging.WARNING):
        tracker = BackgroundTracker("x", lambda: picky, lambda *_: None)
        for step in (1, 2):
            tracker.log(step, {})
        tracker.close()
    assert picky.told == [2]
    assert [record.message for record in caplog.records] == [
        "tracking.x refuses: ValueError: not 1",
        "tracking.x was not told 1 steps' metrics; metrics.jsonl has all of them",
    ]


@pytest.mark.parametrize(
    ("trackers", "problem"),
    [
        pytest.param(
            {"trackio": Trackio(project="x", space=None)},
            "tracking.trackio: this image has no package trackio",
            id="absent",
        ),
        pytest.param(
            {"wandb": replace(OFFLINE, offline=False)}, "tracking.wandb: there is no API key", id="no key"
        ),
    ],
)
def test_what_cannot_work_is_refused_before_a_gpu_is_held(
    trackers: dict[str, object], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match=problem):
        check_trackers(asking(**trackers))


def test_what_is_there_is_taken() -> None:
    check_trackers(
        asking(tensorboard=TensorBoard(), wandb=OFFLINE, mlflow=Mlflow(uri="http://x", experiment="x"))
    )
