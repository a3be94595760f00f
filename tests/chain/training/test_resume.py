"""Interruptions: nothing that was saved is lost, and the run goes on as if it had not been interrupted."""

import json
import shutil
from pathlib import Path

import pytest
from training_run import Steps, TrainingRun, assert_same_curve, terminate
from waiting import until

pytestmark = pytest.mark.chain


def test_checkpoints_hold_adapters_only_and_the_newest_are_kept(trained: TrainingRun) -> None:
    assert trained.checkpoints == ["step-10", "step-6", "step-8"]
    files = sorted(file.name for file in (trained.folder / "checkpoints/step-10").iterdir())
    layers = [f"layer-{layer}.safetensors" for layer in range(4)]
    assert files == ["adapter", "checksums.json", *layers, "random.safetensors", "state.json"]
    size = sum(file.stat().st_size for file in (trained.folder / "checkpoints/step-10").iterdir())
    adapter = (trained.folder / "adapter/adapter_model.safetensors").stat().st_size
    assert size < 3.1 * adapter  # the adapter and two moments of it


def test_stopped_run_skips_a_corrupt_checkpoint_and_goes_on_with_two_processes(
    run: TrainingRun, trained: TrainingRun
) -> None:
    worker = run.start()
    _wait_for_step(run, 3)
    assert terminate(worker) == 143
    stopped_at = run.steps[-1]["step"]
    newest = run.folder / f"checkpoints/step-{stopped_at}"
    assert newest.is_dir(), "stopped without saving"
    assert not (run.folder / "adapter").exists()

    _truncate(newest / "layer-2.safetensors")
    (run.folder / "checkpoints/.step-9.partial").mkdir()
    result = run.having({"workers.processesPerNode": 2}).execute()

    resumed_after = run.steps[0]["step"] - 1
    assert 2 <= resumed_after < stopped_at
    assert f"skipped checkpoint step-{stopped_at}" in result.stdout + result.stderr
    assert "layer-2.safetensors does not match its checksum" in result.stdout + result.stderr
    assert_same_curve(run.steps, trained.steps[int(resumed_after) :])
    _assert_same_load(run.steps, trained.steps[int(resumed_after) :])
    assert run.checkpoints == ["step-10", "step-6", "step-8"]
    assert (run.folder / "adapter/adapter_model.safetensors").exists()


def _assert_same_load(steps: Steps, expected: Steps) -> None:
    """The fullest of 8 experts, of which a token takes 2, has at least the mean and at most 4 times that."""
    for step, other in zip(steps, expected, strict=True):
        assert 1 <= step["expertLoad"] <= 4
        assert step["expertLoad"] == pytest.approx(other["expertLoad"], rel=0.05)


def test_run_whose_checkpoints_are_all_corrupt_says_so_and_keeps_them(
    run: TrainingRun,
) -> None:
    checkpoint = run.folder / "checkpoints/step-6"
    checkpoint.mkdir(parents=True)
    result = run.execute(expect=12)
    assert f"{checkpoint}/checksums.json is missing or unreadable" in result.stderr
    assert checkpoint.is_dir()


def test_truncated_base_is_named_in_one_line(run: TrainingRun, tiny_base: Path) -> None:
    base = run.root / "models/tiny-base"
    base.unlink()
    base.mkdir()
    for file in tiny_base.iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    _truncate(base / "model.safetensors")
    result = run.execute(expect=3)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert f"{base}/model.safetensors is not a whole safetensors file" in line
    assert json.loads((run.root / "termination.json").read_text())["reason"] == "BaseIncomplete"


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def _wait_for_step(run: TrainingRun, step: int) -> None:
    record = run.root / "record.json"
    until(f"step {step}", lambda: record.exists() and record.read_text().count('"step"') >= step)


def test_volume_that_refuses_a_checkpoint_leaves_the_earlier_ones(
    run: TrainingRun, trained: TrainingRun
) -> None:
    saved = run.folder / "checkpoints/step-2"
    shutil.copytree(trained.folder / "checkpoints/step-6", saved)
    result = run.execute("--largest-file", "200000", expect=13)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert f"{run.folder}/checkpoints/.step-8.partial: File too large" in line
    assert "Traceback" not in result.stderr
    assert run.checkpoints == [".step-8.partial", "step-2"]
