"""Which files of a dataset are read for a split."""

import re
from pathlib import Path

from finetune_trainer.contract.failure import DataError
from finetune_trainer.data.parquet import PARQUET

_JSON = (".jsonl", ".json", ".ndjson")
SUFFIXES = (*(json + packed for json in _JSON for packed in ("", ".gz", ".zst")), PARQUET)
FORMATS = "*.jsonl, *.json (also .gz or .zst) or *.parquet"
_TABLES = (".csv", ".tsv", ".xls", ".xlsx", ".txt", ".arrow")
# What other programs leave beside a dataset's files.
_METADATA = (
    *("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"),
    *("metadata.json", "config.json", "croissant.json", "package.json"),
)
# As datasets on the hub name their splits, by file or folder: train.jsonl, train-00000-of-00002.jsonl, test/.
_SPLITS = ("train", "training", "validation", "valid", "val", "dev", "test", "testing", "eval")


def dataset_files(path: Path, split: str) -> dict[str, Path]:
    """The files of split `split` under `path` by the name that errors call them, in a fixed order.

    `path` is a file, or a folder of them. If no file or folder is named after a split, all files are it.
    Raises DataError if there is nothing to read.
    """
    if path.suffix.lower() in _TABLES:
        raise DataError(
            f"{path}: a {path.suffix} file; rows are read from {FORMATS}",
            remedy="Save it as JSON lines or parquet, with the columns of a format in docs/guides/data.md",
        )
    if path.is_file():
        return {path.name: path}
    if not path.is_dir():
        raise DataError(f"{path}: no such dataset", remedy="Put the dataset there, or correct dataset.uri")
    found = {str(file.relative_to(path)): file for file in sorted(path.rglob("*"))}
    found = {name: file for name, file in found.items() if is_data(name)}
    names = select_split(list(found), split)
    if not names:
        raise DataError(
            f"{path}: no {FORMATS} file of split {split}",
            remedy="Add JSON lines or parquet, or correct dataset.split: there are "
            + (", ".join(found) or "no such files at all"),
        )
    return {name: found[name] for name in names}


def is_data(name: str) -> bool:
    """Whether a file's relative path is that of a dataset's file."""
    return name.endswith(SUFFIXES) and not name.startswith(".") and Path(name).name not in _METADATA


def select_split(names: list[str], split: str) -> list[str]:
    """Those of `names` that belong to `split`; all of them if none is named after any split."""
    if not any(_named(name, known) for name in names for known in _SPLITS):
        return names
    return [name for name in names if _named(name, split)]


def _named(name: str, split: str) -> bool:
    return re.search(rf"(^|[/._-]){re.escape(split)}([/._-])", name) is not None
