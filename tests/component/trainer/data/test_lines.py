"""Lines and files of a dataset."""

import gzip

import pyarrow
import pytest

from finetune_trainer.contract.failure import DataError
from finetune_trainer.data.files import dataset_files, select_split
from finetune_trainer.data.lines import read_lines


def zstd(content):
    return pyarrow.compress(content, codec="zstd", asbytes=True)


PACKED = {"plain": bytes, "gzip": gzip.compress, "zstd": zstd}


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
        pytest.param(
            b"{},\n{}\n",
            "faq.jsonl:1: not JSON: a comma after the object; JSON lines have one object"
            " per line and nothing between",
            id="trailing-comma",
        ),
        pytest.param(
            b'{}\n{"a": 1,}\n', "faq.jsonl:2: not JSON: a comma before } (column 9)", id="inner-comma"
        ),
        pytest.param(
            b"{}\n{'a': 1}\n",
            "faq.jsonl:2: not JSON: a text in single quotes; JSON has double quotes,"
            " as json.dumps writes them (column 2)",
            id="single-quotes",
        ),
        pytest.param(
            b'{}\n{"a": True}\n',
            "faq.jsonl:2: not JSON: None, True or False of Python; JSON has null, true and false (column 7)",
            id="python",
        ),
        pytest.param(
            b'{}\n{"a": NaN}\n', "faq.jsonl:2: not JSON: NaN is not JSON; write null or a number", id="nan"
        ),
        pytest.param(
            b'{}\n{"a": "\\ud800"}\n',
            "faq.jsonl:2: not JSON: \\ud800 is half a character: its other half is missing",
            id="lone-surrogate",
        ),
        pytest.param(
            b'{}\n{"a": "\\u0000"}\n', "faq.jsonl:2: not JSON: a NUL character (\\u0000) in a text", id="nul"
        ),
        pytest.param(
            b'{}\n{"a": \x00}\n',
            "faq.jsonl:2: not JSON: a NUL byte: the file is damaged, or UTF-16 (column 7)",
            id="nul-byte",
        ),
        pytest.param(
            b'{}\n{"a": 1, "a": 2}\n',
            'faq.jsonl:2: not JSON: the key "a" is there twice in one object',
            id="twice",
        ),
        pytest.param(
            b"{}\n{} {}\n", "faq.jsonl:2: not JSON: more than one value in the line (column 3)", id="two"
        ),
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
    ("content", "places"),
    [
        pytest.param('[{"a": 1}, {"a": 2}]', [1, 1], id="array-in-a-line"),
        pytest.param('\ufeff [\n{"a": 1},\n\n{"a":\n2}\n]\n', [2, 4], id="array-over-lines"),
        pytest.param('{\n"a": 1}\n{\n"a": 2\n}\n', [1, 3], id="objects-over-lines"),
        pytest.param('{"a": 1\n} {"a": 2}', [1, 2], id="side-by-side"),
    ],
)
@pytest.mark.parametrize("packed", [pytest.param(n, id=n) for n in ("plain", "gzip", "zstd")])
def test_json_of_another_layout_is_read(tmp_path, monkeypatch, content, places, packed):
    monkeypatch.setattr("finetune_trainer.data.json_values.PIECE", 3)
    monkeypatch.setattr("finetune_trainer.data.lines.PIECE", 3)
    file = tmp_path / "faq.json"
    file.write_bytes(PACKED[packed](content.encode()))
    lines = [(line.place, line.row) for line in read_lines(file, "faq.json")]
    assert lines == [(f"faq.json:{place}", {"a": number}) for number, place in enumerate(places, start=1)]


def test_an_empty_array_has_no_rows(tmp_path):
    (tmp_path / "faq.json").write_text("[ ]")
    assert list(read_lines(tmp_path / "faq.json", "faq.json")) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param('[\n{"a": 1}\n', "3: not JSON: the array does not end", id="no-end"),
        pytest.param('[\n{"a": 1},\n]', "3: not JSON: a comma before ]", id="comma-at-the-end"),
        pytest.param('[\n{"a": 1}\n{"a": 2}]', "3: not JSON: no comma between two objects", id="no-comma"),
        pytest.param('[{"a": 1}]\n[]', "2: not JSON: text after the array's end", id="two-arrays"),
        pytest.param('[{"a": 1},\n3]', "2: not a JSON object", id="number"),
        pytest.param('[{"a": 1},\n{"a"\n: x}]', "3: not JSON: Expecting value", id="inside"),
        pytest.param(
            '{\n"a": 1},\n{"a": 2}', "2: not JSON: a comma after an object that is in no array", id="comma"
        ),
        pytest.param('{\n"a": 1', "1: not JSON: the object that begins here does not end", id="cut-off"),
    ],
)
def test_a_wrong_place_in_json_is_named(tmp_path, content, message):
    (tmp_path / "faq.json").write_text(content)
    with pytest.raises(DataError) as caught:
        list(read_lines(tmp_path / "faq.json", "faq.json"))
    assert caught.value.message == f"faq.json:{message}"


def utf16(text):
    return text.encode("utf-16")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(utf16('{"a": 1}'), "the file is UTF-16", id="utf-16"),
        pytest.param('{"a": 1}'.encode("utf-32"), "the file is UTF-16", id="utf-32"),
        pytest.param(b"PK\x03\x04rest", "a zip archive", id="zip"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer", id="lfs"),
        pytest.param(b"\n<!DOCTYPE html><html>", "an HTML page", id="html"),
        pytest.param(gzip.compress(b'{"a": 1}' * 999)[:-9], "compressed file is damaged", id="gzip-cut-off"),
        pytest.param(gzip.compress(b"<!doctype html>"), "an HTML page", id="gzip-of-html"),
        pytest.param(zstd(b'{"a": 1}\n' * 999)[:-9], "compressed file is damaged", id="zstd-cut-off"),
    ],
)
def test_a_file_that_is_no_json_says_what_it_is(tmp_path, content, message):
    (tmp_path / "faq.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=f"^faq.jsonl: .*{message}"):
        list(read_lines(tmp_path / "faq.jsonl", "faq.jsonl"))


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
    (tmp_path / "c.json.gz").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "dataset_infos.json").touch()
    assert list(dataset_files(tmp_path, ".", "train")) == ["a.jsonl", "b.jsonl", "c.json.gz"]
    assert list(dataset_files(tmp_path, "b.jsonl", "train")) == ["b.jsonl"]


def test_a_table_says_what_it_is(tmp_path):
    (tmp_path / "a.csv").write_text("prompt,completion\n")
    with pytest.raises(DataError, match=r"a\.csv: a \.csv file; rows are read from"):
        dataset_files(tmp_path, "a.csv", "train")


@pytest.mark.parametrize(
    "missing", [pytest.param("nothing", id="path"), pytest.param(".", id="empty-folder")]
)
def test_nothing_to_read(tmp_path, missing):
    with pytest.raises(DataError):
        dataset_files(tmp_path, missing, "train")
