"""Rows of parquet are what the same JSON lines are."""

import pyarrow
import pytest
from pyarrow import parquet

from finetune_trainer.contract.failure import DataError
from finetune_trainer.data.files import dataset_files
from finetune_trainer.data.parquet import read_rows

MESSAGES = [{"role": "user", "content": "A?"}, {"role": "assistant", "content": "B"}]


@pytest.fixture
def file(tmp_path):
    """1,000 rows in row groups of 100, with a column that is ignored."""
    table = pyarrow.table({"messages": [MESSAGES] * 1000, "image": [b"x" * 50] * 1000})
    parquet.write_table(table, tmp_path / "train.parquet", row_group_size=100)
    return tmp_path / "train.parquet"


def test_rows_are_numbered_over_all_row_groups(file):
    rows = list(read_rows(file, "train.parquet", ignored=("image",)))
    assert (rows[0].place, rows[-1].place) == ("train.parquet:1", "train.parquet:1000")
    assert all(row.row == {"messages": MESSAGES} for row in rows)


def test_a_file_that_lacks_the_column_is_named_with_its_row(file):
    parquet.write_table(pyarrow.table({"prompt": ["A?"]}), file)
    (row,) = read_rows(file, "train.parquet")
    assert str(row.error('no "messages" list')).startswith('train.parquet:1: no "messages" list.')


def _cut(content):
    return content[: len(content) // 2]


def _scratch(content):
    return content[:4000] + bytes(byte ^ 0xFF for byte in content[4000:8000]) + content[8000:]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_cut, id="cut-off"),
        pytest.param(_scratch, id="inside"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda _: b"{}", id="json"),
    ],
)
def test_damage_is_named(file, damage):
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError, match=r"^train\.parquet: not parquet, or damaged after row \d+ \("):
        list(read_rows(file, "train.parquet"))


def test_a_folder_may_hold_both_formats(file):
    (file.parent / "train.jsonl").touch()
    assert list(dataset_files(file.parent, ".", "train")) == ["train.jsonl", "train.parquet"]


def test_a_null_is_as_a_key_that_is_not_there(file):
    """Parquet gives every message of a column every key that one of them has."""
    call = {"function": {"name": "weather", "arguments": {"town": "Bern"}}}
    other = {"function": {"name": "time", "arguments": {"zone": "CET"}}}
    messages = [
        {"role": "user", "content": "A?"},
        {"role": "assistant", "tool_calls": [call, other]},
        {"role": "tool", "content": "B", "tool_call_id": "c1"},
    ]
    parquet.write_table(pyarrow.Table.from_pylist([{"messages": messages, "tools": None}]), file)
    (row,) = read_rows(file, "train.parquet")
    assert row.row == {"messages": messages}
