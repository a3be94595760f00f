"""A dataset that changes: corrected before anything is trained, or edited behind a run's back."""

import json
import shutil

import pytest

from finetune_trainer.__main__ import main


def report_of(volume):
    return json.loads((volume.run / "data-report.json").read_text())


def message(volume):
    told = json.loads((volume.root.parent / "termination-log").read_text())
    return f"{told['message']}. {told['remedy']}"


def test_a_corrected_line_and_the_same_command_go_on(volume, copy_base):
    copy_base()
    good = volume.dataset.read_text()
    volume.dataset.write_text(good + "{not JSON}\n")
    assert main(["prepare", *volume.arguments]) == 3
    assert message(volume).startswith("faq.jsonl:4: not JSON")
    volume.dataset.write_text(good)
    assert main(["prepare", *volume.arguments]) == 0
    assert report_of(volume)["lines"] == 3


def test_data_that_changes_before_the_training_is_read_again(volume, copy_base):
    copy_base()
    assert main(["prepare", *volume.arguments]) == 0
    volume.write_chats(5)
    assert main(["prepare", *volume.arguments]) == 0
    assert report_of(volume)["lines"] == 5


@pytest.mark.parametrize("trained", ["adapter", "checkpoints/step-5"])
def test_data_that_changed_since_the_training_is_refused(volume, copy_base, trained):
    copy_base()
    assert main(["prepare", *volume.arguments]) == 0
    (volume.run / trained).mkdir(parents=True)
    old = volume.dataset.read_text()
    volume.write_chats(5)
    assert main(["prepare", *volume.arguments]) == 3
    assert "faq.jsonl is not what this run has trained on (sha256 " in message(volume)
    assert "give the FineTuneJob another name" in message(volume)
    assert report_of(volume)["lines"] == 3
    volume.dataset.write_text(old)
    assert main(["prepare", *volume.arguments]) == 0


def test_data_that_is_gone_has_not_changed(volume, copy_base):
    copy_base()
    assert main(["prepare", *volume.arguments]) == 0
    volume.dataset.unlink()
    assert main(["prepare", *volume.arguments]) == 0


@pytest.mark.parametrize("change", ["edited", "added"])
def test_a_folder_changes_with_its_files(volume, copy_base, change):
    copy_base()
    content = volume.dataset.read_text()
    folder = volume.dataset.parent / "chats"
    folder.mkdir()
    (folder / "a.jsonl").write_text(content)
    volume.source["uri"] = volume.source["path"] = "datasets/chats"
    assert main(["prepare", *volume.arguments]) == 0
    if change == "edited":
        (folder / "a.jsonl").write_text(content * 2)
    else:
        shutil.copy(folder / "a.jsonl", folder / "b.jsonl")
    assert main(["prepare", *volume.arguments]) == 0
    assert report_of(volume)["lines"] == 6


def test_data_that_is_written_to_while_it_is_read_is_named(volume, copy_base, monkeypatch):
    from finetune_trainer.prepare import stage

    copy_base()
    tokenize = stage.tokenize_dataset

    def tokenize_and_write(*arguments):
        report = tokenize(*arguments)
        volume.write_chats(4)
        return report

    monkeypatch.setattr(stage, "tokenize_dataset", tokenize_and_write)
    assert main(["prepare", *volume.arguments]) == 3
    assert "faq.jsonl: changed while it was read" in message(volume)
    assert not (volume.run / "prepared.json").exists()
