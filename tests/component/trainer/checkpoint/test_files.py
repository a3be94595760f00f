from pathlib import Path

import pytest

from finetune_trainer.checkpoint import files
from finetune_trainer.contract.failure import CheckpointError


def _save(folder: Path, step: int) -> Path:
    staging = files.staging_folder(folder, step)
    staging.mkdir(parents=True)
    (staging / "state.json").write_text(f'{{"step": {step}}}')
    final = files.step_folder(folder, step)
    files.publish(staging, final, {"state.json": files.sha256(staging / "state.json")})
    return final


def test_published_checkpoint_is_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    files.verify(_save(tmp_path, 5))
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-5"]


def test_steps_are_found_newest_first(tmp_path: Path) -> None:
    for step in (5, 20, 100):
        _save(tmp_path, step)
    files.staging_folder(tmp_path, 200).mkdir()
    (tmp_path / "notes").mkdir()
    assert files.saved_steps(tmp_path) == [100, 20, 5]
    assert files.saved_steps(tmp_path / "absent") == []


def test_saving_again_replaces(tmp_path: Path) -> None:
    _save(tmp_path, 5)
    files.verify(_save(tmp_path, 5))


def test_prune_keeps_the_newest_and_removes_leftovers(tmp_path: Path) -> None:
    for step in (5, 20, 100):
        _save(tmp_path, step)
    files.staging_folder(tmp_path, 7).mkdir()
    files.prune(tmp_path, keep=2)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["step-100", "step-20"]


@pytest.mark.parametrize(
    ("best", "left"),
    [
        pytest.param(5, ["step-100", "step-5"], id="an old one"),
        pytest.param(100, ["step-100"], id="the newest"),
        pytest.param(None, ["step-100"], id="none measured"),
    ],
)
def test_prune_keeps_the_best(tmp_path: Path, best: int | None, left: list[str]) -> None:
    for step in (5, 20, 100):
        _save(tmp_path, step)
    files.prune(tmp_path, keep=1, best=lambda _whole: best)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == left


def test_prune_removes_the_unreadable_and_does_not_count_them(tmp_path: Path) -> None:
    for step in (5, 20, 100):
        _save(tmp_path, step)
    files.prune(tmp_path, keep=2, unreadable=[100])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["step-20", "step-5"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda f: (f / "state.json").unlink(), "state.json is missing", id="file gone"),
        pytest.param(
            lambda f: (f / "state.json").write_text("{}"),
            "state.json does not match its checksum",
            id="changed",
        ),
        pytest.param(lambda f: (f / "checksums.json").unlink(), "checksums.json is missing", id="bare"),
    ],
)
def test_damage_is_named(tmp_path: Path, damage: object, message: str) -> None:
    checkpoint = _save(tmp_path, 5)
    damage(checkpoint)  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=message):
        files.verify(checkpoint)
