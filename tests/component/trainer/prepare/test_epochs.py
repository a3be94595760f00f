"""How many steps an epoch is: every document is trained."""

import json

import pytest

from finetune_trainer.__main__ import main
from finetune_trainer.contract.run_file import RunFolders, load_run
from finetune_trainer.data import count_sequences
from finetune_trainer.data.packing import Packing
from finetune_trainer.train.worker import configure

# One takes more than half of a sequence of 256, so each has one of its own.
ANSWER = "An answer of some length. " * 6


@pytest.mark.parametrize(
    ("conversations", "epochs", "steps", "last"),
    [
        pytest.param(15, 1.0, 2, 7, id="the-rest-is-a-step"),
        pytest.param(16, 1.0, 2, 8, id="nothing-is-left"),
        pytest.param(3, 1.0, 1, 3, id="less-than-a-step"),
        pytest.param(15, 3.0, 6, 7, id="epochs-follow-without-a-gap"),
    ],
)
def test_an_epoch_trains_every_document(volume, copy_base, conversations, epochs, steps, last, caplog):
    copy_base()
    chat = [{"role": "user", "content": "A?"}, {"role": "assistant", "content": ANSWER}]
    volume.dataset.write_text(f"{json.dumps({'messages': chat})}\n" * conversations)
    volume.document["training"] |= {"steps": None, "epochs": epochs, "globalBatchSize": 8}
    with caplog.at_level("INFO"):
        assert main(["prepare", *volume.arguments]) == 0
    report = json.loads((volume.run / "data-report.json").read_text())
    assert (report["sequences"], report["lastStepSequences"]) == (conversations, last)

    run = load_run(volume.run_file)
    folders = RunFolders(root=volume.root, paths=run.paths)
    config = configure(run, folders)
    assert config.training.steps == steps
    assert config.dataloader.epochs == epochs
    assert count_sequences(folders) == conversations
    documents = Packing.load(folders.tokens / "training").documents.tolist()
    assert sorted(documents) == list(range(conversations))
    if report["epochSteps"] > 1:
        assert f"one epoch is {report['epochSteps']} steps, the last of {last} sequences" in caplog.text
