"""Validation losses are written beside the training, and a volume that refuses them is told of later."""

import threading
from pathlib import Path

import pytest

from finetune_trainer.checkpoint import losses_file
from finetune_trainer.checkpoint.losses_file import LossesFile
from finetune_trainer.checkpoint.selection import read_losses, write_losses


def test_training_does_not_wait_for_the_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()

    def write(folder: Path, losses: dict[int, float]) -> None:
        answers.wait()
        write_losses(folder, losses)

    monkeypatch.setattr(losses_file, "write_losses", write)
    file = LossesFile(tmp_path)
    file.write({1: 2.0})
    file.write({1: 2.0, 2: 1.5})
    assert read_losses(tmp_path) == {}
    answers.set()
    file.wait()
    assert read_losses(tmp_path) == {1: 2.0, 2: 1.5}
    file.close()


def test_a_volume_that_refuses_is_told_of_where_it_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_folder: Path, _losses: dict[int, float]) -> None:
        raise OSError(28, "no space left")

    file = LossesFile(tmp_path)
    file.wait()
    with monkeypatch.context() as refusing:
        refusing.setattr(losses_file, "write_losses", refuse)
        file.write({1: 2.0})
        with pytest.raises(OSError, match="no space left"):
            file.wait()
    file.write({1: 2.0, 2: 1.5})
    file.wait()
    file.close()
