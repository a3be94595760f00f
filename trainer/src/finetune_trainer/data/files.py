"""Which files of a dataset are read for a split."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import takewhile
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

# Of the files that there are so many are named.
_SHOWN = 5


def dataset_files(root: Path, path: str, split: str) -> dict[str, Path]:
    """The files of split `split` at `path` below `root`, by the name that errors call them, in a fixed order.

    `path` is a file, a folder, or a glob of both. If no file or folder is named after a split, all files are
    it. Raises DataError if there is nothing to read.
    """
    place = root / path
    if place.suffix.lower() in _TABLES:
        raise DataError(
            f"{place}: a {place.suffix} file; rows are read from {FORMATS}",
            remedy="Save it as JSON lines or parquet, with the columns of a format in docs/guides/data.md",
        )
    if place.is_file():
        return {place.name: place}
    if place.is_dir():
        found = {str(file.relative_to(place)): file for file in sorted(place.rglob("*"))}
    elif is_glob(path):
        found = _matching(root, path)
    else:
        raise DataError(f"{place}: no such dataset", remedy="Put the dataset there, or correct dataset.uri")
    names = select_split([name for name in found if is_data(name)], split)
    if not names:
        data = [name for name in found if is_data(name)]
        raise no_data(str(place), split, data)
    return {name: found[name] for name in names}


def no_data(place: str, split: str, data: Sequence[str]) -> DataError:
    """The error of a place where no file is of the split; `data`: the files there that could be."""
    shown = ", ".join(data[:_SHOWN]) + (", ..." if len(data) > _SHOWN else "")
    return DataError(
        f"{place}: no {FORMATS} file of split {split}",
        remedy=f"Correct dataset.split: there are {shown}"
        if data
        else "Add JSON lines or parquet, or correct dataset.uri: there are no such files at all",
    )


def _matching(root: Path, path: str) -> dict[str, Path]:
    """The files that a glob matches, and those below the folders that it matches, from where it begins."""
    fixed, pattern = split_glob(path)
    folder = root / fixed
    matched = sorted(folder.glob(pattern)) if folder.is_dir() else []
    below = {file for place in matched for file in (place.rglob("*") if place.is_dir() else [place])}
    if not matched:
        there = (
            ", ".join(sorted(entry.name for entry in folder.iterdir())[:_SHOWN]) if folder.is_dir() else ""
        )
        raise DataError(
            f"{root / path}: nothing matches",
            remedy=f"Correct dataset.uri: in {folder} there is {there or 'nothing'}",
        )
    return {str(file.relative_to(folder)): file for file in sorted(below) if file.is_file()}


def is_glob(path: str) -> bool:
    return re.search(r"[*?\[]", path) is not None


def split_glob(path: str) -> tuple[str, str]:
    """The folder where a glob begins, and what it is below that; a path that is none is all folder."""
    segments = path.split("/")
    fixed = list(takewhile(lambda segment: not is_glob(segment), segments))
    return "/".join(fixed), "/".join(segments[len(fixed) :])


def matches(name: str, pattern: str) -> bool:
    """Whether a file's relative path, or a folder above it, is what a glob says; "" says all."""
    return _matches(name.split("/"), [part for part in pattern.split("/") if part])


def _matches(name: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern or not name:
        return not pattern
    if pattern[0] == "**":
        return _matches(name, pattern[1:]) or _matches(name[1:], pattern)
    return fnmatchcase(name[0], pattern[0]) and _matches(name[1:], pattern[1:])


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
