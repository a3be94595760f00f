"""Lines and files of a dataset."""

import pytest

from finetune_trainer.contract.failure import DataError
from finetune_trainer.data.files import dataset_files, select_split
from finetune_trainer.data.lines import read_lines


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b'{"a": 1}\n{"a": 2}\n', id="two"),
        pytest.param(b'{"a": 1}\n{"a": 2}', id="no-newline-at-the-end"),
        pytest.param(b'{"a": 1}\r\n{"a": 2}\r\n\r\n \n', id="windows-and-empty-end"),
        pytest.param(b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n', id="byte-order-mark"),
    ],
)
def test_lines_are_read(tmp_path, content):
    file = tmp_path / "faq.jsonl"
    file.write_bytes(content)
    lines = list(read_lines(file, "faq.jsonl"))
    assert [(line.place, line.row) for line in lines] == [
        ("faq.jsonl:1", {"a": 1}),
        ("faq.jsonl:2", {"a": 2}),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b'{}\n{"a": \n', "faq.jsonl:2: not JSON: Expecting value (column 6)", id="not-json"),
        pytest.param(b'{}\n\n{"a": 1}\n', "faq.jsonl:2: the line is empty", id="empty"),
        pytest.param(b'{}\n{"a": "\xff"}\n', "faq.jsonl:2: not UTF-8 (byte 8)", id="not-utf-8"),
        pytest.param(b"{}\n[1]\n", "faq.jsonl:2: not a JSON object", id="not-an-object"),
        pytest.param(b"{}\n" + b"[" * 100_000, "faq.jsonl:2: not JSON: nested too deeply", id="deep"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, content, message):
    file = tmp_path / "faq.jsonl"
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(read_lines(file, "faq.jsonl"))
    assert caught.value.message == message
    assert "Correct the line" in caught.value.remedy


@pytest.mark.parametrize(
    ("names", "split", "expected"),
    [
        pytest.param(["a.jsonl", "b.jsonl"], "train", ["a.jsonl", "b.jsonl"], id="no-splits"),
        pytest.param(["test.jsonl", "train.jsonl"], "train", ["train.jsonl"], id="by-file"),
        pytest.param(["test.jsonl", "train.jsonl"], "test", ["test.jsonl"], id="another"),
        pytest.param(
            ["d/train-00000-of-00001.jsonl"], "train", ["d/train-00000-of-00001.jsonl"], id="shards"
        ),
        pytest.param(["train/a.jsonl", "dev/a.jsonl"], "train", ["train/a.jsonl"], id="by-folder"),
        pytest.param(["constraints.jsonl"], "train", ["constraints.jsonl"], id="not-inside-a-word"),
        pytest.param(["train.jsonl"], "extra", [], id="missing"),
    ],
)
def test_splits(names, split, expected):
    assert select_split(names, split) == expected


def test_a_folder_and_a_file(tmp_path):
    (tmp_path / "b.jsonl").touch()
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "notes.txt").touch()
    assert list(dataset_files(tmp_path, "train")) == ["a.jsonl", "b.jsonl"]
    assert list(dataset_files(tmp_path / "b.jsonl", "train")) == ["b.jsonl"]


@pytest.mark.parametrize(
    "missing", [pytest.param("nothing", id="path"), pytest.param(".", id="empty-folder")]
)
def test_nothing_to_read(tmp_path, missing):
    with pytest.raises(DataError):
        dataset_files(tmp_path / missing, "train")
