"""A dataset as a glob: in the volume, in a bucket and on the hub alike, in a fixed order."""

import json

import pytest

from finetune_trainer.__main__ import main

NAMES = (
    "b.jsonl",
    "a.jsonl",
    "notes.md",
    "2026-01/one.jsonl",
    "2026-02/two.jsonl",
    "2026-02/deep/three.jsonl.gz.txt",
    "2026-02/deep/four.jsonl",
    "split/train-0.jsonl",
    "split/train-1.jsonl",
    "split/test-0.jsonl",
)
CASES = [
    pytest.param("*.jsonl", ["a.jsonl", "b.jsonl"], id="in-order"),
    pytest.param("?.jsonl", ["a.jsonl", "b.jsonl"], id="one-character"),
    pytest.param("[a].jsonl", ["a.jsonl"], id="one-of"),
    pytest.param("[!a].jsonl", ["b.jsonl"], id="none-of"),
    pytest.param(
        "2026-*", ["2026-01/one.jsonl", "2026-02/deep/four.jsonl", "2026-02/two.jsonl"], id="folders"
    ),
    pytest.param("2026-*/*.jsonl", ["2026-01/one.jsonl", "2026-02/two.jsonl"], id="files-of-folders"),
    pytest.param("**/four.jsonl", ["2026-02/deep/four.jsonl"], id="any-depth"),
    pytest.param("2026-02/**/*.jsonl", ["2026-02/deep/four.jsonl", "2026-02/two.jsonl"], id="below"),
    pytest.param("split/*", ["split/train-0.jsonl", "split/train-1.jsonl"], id="of-the-split"),
    pytest.param("split/test-*", None, id="of-another-split"),
    pytest.param("*.parquet", None, id="nothing"),
    pytest.param("*.md", None, id="no-data"),
]


@pytest.fixture(autouse=True)
def base(volume, copy_base):
    copy_base()
    volume.document["model"]["verify"] = False


def outcome(volume):
    """The files that were read, without the folders above; or None and what was said."""
    if main(["prepare", *volume.arguments]) == 0:
        report = json.loads((volume.run / "data-report.json").read_text())
        return report["sources"][0]["files"], ""
    told = json.loads((volume.root.parent / "termination-log").read_text())
    return None, f"{told['message']}. {told['remedy']}"


def below(files, folder):
    return files and [name.removeprefix(folder) for name in files]


@pytest.mark.parametrize(("pattern", "files"), CASES)
def test_of_the_volume(volume, pattern, files):
    for name in NAMES:
        file = volume.root / "chats" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(volume.dataset.read_bytes())
    volume.source["uri"] = volume.source["path"] = f"chats/{pattern}"
    found, said = outcome(volume)
    # Called by what the glob leaves open.
    fixed = "/".join(part for part in pattern.split("/")[:-1] if "*" not in part)
    assert found == (files and [name.removeprefix(f"{fixed}/") for name in files])
    said_of = {
        "split/test-*": "no *.jsonl, *.json (also .gz or .zst) or *.parquet file of split train. Correct "
        "dataset.split: there are test-0.jsonl",
        "*.parquet": "chats/*.parquet: nothing matches. Correct dataset.uri: in ",
        "*.md": "there are no such files at all",
    }
    assert said_of.get(pattern, "") in said


@pytest.mark.parametrize(("pattern", "files"), CASES)
def test_of_the_hub(volume, hub, pattern, files):
    hub.add("datasets/acme/chats", {f"chats/{name}": volume.dataset.read_bytes() for name in NAMES})
    uri = f"hf://acme/chats/chats/{pattern}"
    volume.source.update({"uri": uri, "path": "datasets/acme--chats@main"})
    found, said = outcome(volume)
    assert below(found, "chats/") == files
    assert files or uri in said


@pytest.mark.parametrize(("pattern", "files"), CASES)
def test_of_a_bucket(volume, bucket, pattern, files):
    for name in NAMES:
        bucket.put_object(Bucket="weights", Key=f"chats/{name}", Body=volume.dataset.read_bytes())
    uri = f"s3://weights/chats/{pattern}"
    volume.source.update({"uri": uri, "path": "datasets/weights--chats"})
    found, said = outcome(volume)
    fixed = "/".join(part for part in pattern.split("/")[:-1] if "*" not in part)
    assert found == (files and [name.removeprefix(f"{fixed}/") for name in files])
    assert files or uri in said


def test_a_file_that_is_named_is_read_whatever_its_split(volume, hub):
    hub.add("datasets/acme/chats", {"test.jsonl": volume.dataset.read_bytes()})
    volume.source.update({"uri": "hf://acme/chats/test.jsonl", "path": "datasets/acme--chats@main"})
    assert outcome(volume) == (["test.jsonl"], "")


def test_a_file_that_a_glob_matches_since_is_a_change(volume):
    volume.source["uri"] = volume.source["path"] = "datasets/*.jsonl"
    assert outcome(volume)[0] == ["faq.jsonl"]
    (volume.dataset.parent / "more.jsonl").write_bytes(volume.dataset.read_bytes())
    assert outcome(volume)[0] == ["faq.jsonl", "more.jsonl"]
