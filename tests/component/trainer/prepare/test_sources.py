"""Several datasets: each read in its own way, and mixed by their shares."""

import json

import pytest

from finetune_trainer.__main__ import main
from finetune_trainer.contract.run_file import RunFolders, load_run
from finetune_trainer.data.packing import Packing
from finetune_trainer.report.page import write_report


def chats(count, answer="B"):
    turns = [{"role": "user", "content": "A?"}, {"role": "assistant", "content": answer}]
    return f"{json.dumps({'messages': turns})}\n" * count


def alpaca(count):
    return f"{json.dumps({'instruction': 'Add', 'input': '1, 2', 'output': '3', 'id': 7})}\n" * count


@pytest.fixture
def sources(volume, copy_base):
    """A function that writes files and has the run read them, as sources of a path and what they say."""
    copy_base()
    volume.document["model"]["verify"] = False

    def write(files, *sources):
        for name, content in files.items():
            file = volume.root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        own = volume.document["dataset"]["sources"][0]
        volume.document["dataset"]["sources"] = [own | {"uri": source["path"]} | source for source in sources]

    return write


def report_of(volume):
    return json.loads((volume.run / "data-report.json").read_text())


def message(volume):
    told = json.loads((volume.root.parent / "termination-log").read_text())
    return f"{told['message']}. {told['remedy']}"


FILES = {
    "datasets/a.jsonl": chats(40),
    "datasets/b/train.jsonl": alpaca(20),
    "datasets/b/test.jsonl": alpaca(9),
}
A, B = {"path": "datasets/a.jsonl"}, {"path": "datasets/b", "format": "alpaca", "ignoreColumns": ["id"]}


def test_each_source_is_read_in_its_own_way(volume, sources, capsys):
    sources(FILES, A, B)
    assert main(["data", *volume.arguments]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    first, second = report["sources"]
    assert (first["source"], first["files"]) == ("datasets/a.jsonl", ["datasets/a.jsonl"])
    assert (second["files"], second["documents"]) == (["datasets/b/train.jsonl"], 20)
    assert [file["format"] for file in report["byFile"]] == ["chat", "alpaca"]
    assert report["lines"] == 60
    assert (first["trainedTokens"], second["trainedTokens"]) == (80, 40)
    assert (first["share"], first["epochPasses"], second["epochPasses"]) == (80 / 120, 1.0, 1.0)
    assert report["examples"][0]["place"] == "datasets/a.jsonl:1"


@pytest.mark.parametrize(
    ("shares", "passes"),
    [
        pytest.param((2.0, 1.0), (1, 1), id="as they are"),
        pytest.param((1.0, 1.0), (1, 2), id="the smaller one twice"),
        pytest.param((0.2, 0.8), (1, 8), id="the smaller one more often"),
        pytest.param((0.9, 0.1), (4.5, 1), id="the larger one more often"),
    ],
)
def test_shares(volume, sources, shares, passes, caplog):
    volume.document["training"] |= {"sequenceLength": 16, "globalBatchSize": 8, "steps": None, "epochs": 1.0}
    sources(FILES, *(own | {"share": share} for own, share in zip((A, B), shares, strict=True)))
    with caplog.at_level("INFO"):
        assert main(["prepare", *volume.arguments]) == 0
    report = report_of(volume)
    found = [own["epochPasses"] for own in report["sources"]]
    assert found == pytest.approx(passes, abs=0.1)
    wanted = [share / sum(shares) for share in shares]
    assert [own["share"] for own in report["sources"]] == pytest.approx(wanted, abs=0.01)
    assert f"datasets/b ({report['sources'][1]['share']:.1%} of what is learned" in caplog.text
    run = load_run(volume.run_file)
    packing = Packing.load(RunFolders(root=volume.root, paths=run.paths).tokens / "training")
    sequences = [own.sequences * times for own, times in zip(packing.parts, found, strict=True)]
    assert report["sequences"] == sum(sequences)
    assert report["steps"] == -(-report["sequences"] // 8)


def test_each_source_holds_out_its_share_of_documents(volume, sources):
    sources(FILES, A | {"share": 1.0}, B | {"share": 9.0})
    volume.document["dataset"]["validationShare"] = 0.1
    assert main(["prepare", *volume.arguments]) == 0
    report = report_of(volume)
    assert report["validationDocuments"] == 4 + 2
    assert [own["trainedTokens"] for own in report["sources"]] == [72, 36]


@pytest.mark.parametrize(
    ("files", "given", "said"),
    [
        pytest.param(
            {"datasets/c.jsonl": "{not JSON}\n"},
            (A, {"path": "datasets/c.jsonl"}),
            "datasets/c.jsonl:1: not JSON",
            id="a line",
        ),
        pytest.param(
            {},
            (A, B | {"ignoreColumns": []}),
            'datasets/b/train.jsonl:1: the row has "id", which nothing uses',
            id="a column",
        ),
        pytest.param(
            {}, (A, {"path": "datasets/none"}), "datasets/none: no such dataset", id="no such source"
        ),
        pytest.param(
            {"datasets/c.jsonl": ""},
            (A, {"path": "datasets/c.jsonl"}),
            "datasets/c.jsonl: the dataset is empty",
            id="empty",
        ),
        pytest.param(
            {"datasets/c.jsonl": chats(2, "no end " * 90)},
            (A, {"path": "datasets/c.jsonl"}),
            "datasets/c.jsonl: none of 2 lines fits into 256 tokens",
            id="too long",
        ),
        pytest.param(
            {},
            (A, {"path": "datasets/*.jsonl"}),
            "datasets/a.jsonl: is in dataset.sources 0 and 1. Name it in one of them",
            id="a file twice",
        ),
    ],
)
def test_what_is_wrong_is_named_by_the_path_in_the_volume(volume, sources, files, given, said):
    sources(FILES | files, *given)
    assert main(["prepare", *volume.arguments]) == 3 or "fits" in said
    assert said in message(volume)


def test_a_source_that_changes_is_prepared_again(volume, sources):
    sources(FILES, A, B)
    assert main(["prepare", *volume.arguments]) == 0
    recorded = json.loads((volume.run / "prepared.json").read_text())["dataset"]
    assert [own["source"] for own in recorded["sources"]] == ["datasets/a.jsonl", "datasets/b"]
    assert list(recorded["files"]) == ["datasets/a.jsonl", "datasets/b/train.jsonl"]
    (volume.root / "datasets/b/train.jsonl").write_text(alpaca(21))
    assert main(["prepare", *volume.arguments]) == 0
    assert report_of(volume)["lines"] == 61


def test_the_page_shows_the_sources(volume, sources):
    sources(FILES, A | {"share": 1.0}, B | {"share": 1.0})
    assert main(["prepare", *volume.arguments]) == 0
    run = load_run(volume.run_file)
    folders = RunFolders(root=volume.root, paths=run.paths)
    step = {"step": 1, "loss": 1.0, "gradNorm": 1.0, "learningRate": 1e-3, "tokensPerSecond": 1.0}
    folders.metrics.write_text(json.dumps({**step, "peakMemoryBytes": 1, "time": 1.9e9}) + "\n")
    write_report(run, volume.run_file, folders, failure=None)
    page = folders.report.read_text()
    assert "<td>datasets/b</td><td>train</td>" in page
    assert "<td>50.0%</td><td>2</td>" in page


def test_sources_of_the_hub_share_a_folder_and_have_revisions(volume, hub, sources):
    hub.add("datasets/acme/chats", {"x/train.jsonl": chats(2).encode(), "y/train.jsonl": chats(3).encode()})
    folder = {"path": "datasets/acme--chats@main", "revision": "main"}
    sources({}, {"uri": "hf://acme/chats/x", **folder}, {"uri": "hf://acme/chats/y", **folder})
    assert main(["prepare", *volume.arguments]) == 0
    report = report_of(volume)
    assert [own["documents"] for own in report["sources"]] == [2, 3]
    assert report["sources"][0]["files"] == ["datasets/acme--chats@main/x/train.jsonl"]
