"""`python -m finetune_trainer data`: the data report before there is a run."""

import json

import pytest

from finetune_trainer.__main__ import main
from finetune_trainer.contract.run_file import RunFolders, load_run
from finetune_trainer.report.page import write_report

ANSWER = "An answer that goes on and on. " * 6


def chat(*turns):
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[n % 2], "content": text} for n, text in enumerate(turns)]}


@pytest.fixture
def chats(volume, copy_base):
    """Two files: two short conversations; one that loses its last turns, one whose prompt is too long."""
    copy_base()
    folder = volume.root / "datasets/chats"
    folder.mkdir(parents=True)
    rows = {
        "a.jsonl": [chat("A?", "B"), chat("C?", "D")],
        "b.jsonl": [chat("E?", "F", "G?", ANSWER * 3), chat(ANSWER * 3, "H")],
    }
    for name, own in rows.items():
        (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in own))
    volume.source["uri"] = volume.source["path"] = "datasets/chats"
    volume.document["training"] |= {"steps": None, "epochs": 2.0, "globalBatchSize": 8}
    return volume


def test_the_report_says_by_file_what_trains_and_what_is_cut(chats, capsys):
    before = sorted(chats.root.rglob("*"))
    assert main(["data", *chats.arguments]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    left = [file for file in chats.root.rglob("*") if file not in before and file.is_file()]
    assert [file.name for file in left if not file.name.endswith((".lock", "run.json"))] == []

    a, b = report["byFile"]
    assert (a["name"], a["rows"], a["documents"], a["dropped"]) == ("a.jsonl", 2, 2, {})
    assert (a["tokens"], a["trainedTokens"], a["histogram"]) == (14, 4, {"8": 2})
    assert (b["rows"], b["documents"], b["firstTruncated"]) == (2, 1, ["b.jsonl:1"])
    assert (b["dropped"], b["firstDropped"]) == ({"promptTooLong": 1}, {"promptTooLong": ["b.jsonl:2"]})
    assert (report["sequences"], report["epochSteps"], report["steps"]) == (1, 1, 1)
    assert (report["batchSequences"], report["sequenceLength"]) == (8, 256)

    first, middle, cut = report["examples"]
    assert [example["place"] for example in report["examples"]] == ["a.jsonl:1", "a.jsonl:2", "b.jsonl:1"]
    assert first["segments"] == [
        {"text": "<bos><|user|>A?<|assistant|>", "trained": False},
        {"text": "B<eos>", "trained": True},
    ]
    assert cut["tokensCut"] == b["tokensCut"] > 500
    assert middle["trainedTokens"] == 2


def test_what_is_wrong_with_the_data_is_said(chats, capsys):
    (chats.root / "datasets/chats/a.jsonl").write_text("{not JSON}\n")
    assert main(["data", *chats.arguments]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "a.jsonl:1: not JSON" in captured.err


def test_the_page_shows_the_files_and_what_trains(chats):
    assert main(["prepare", *chats.arguments]) == 0
    run = load_run(chats.run_file)
    folders = RunFolders(root=chats.root, paths=run.paths)
    step = {"step": 1, "loss": 1.0, "gradNorm": 1.0, "learningRate": 1e-3, "tokensPerSecond": 1.0}
    folders.metrics.write_text(json.dumps({**step, "peakMemoryBytes": 1, "time": 1.9e9}) + "\n")
    write_report(run, chats.run_file, folders, failure=None)
    page = folders.report.read_text()
    assert "&lt;|user|&gt;A?&lt;|assistant|&gt;<mark>B&lt;eos&gt;</mark>" in page
    assert "b.jsonl:1" in page
    assert "1 promptTooLong" in page
