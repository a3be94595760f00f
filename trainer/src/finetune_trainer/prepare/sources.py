"""The sources of a dataset: fetched or found in the volume, and their files by name."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from finetune_trainer.contract.failure import DataError
from finetune_trainer.contract.run_data import Dataset, DataSource
from finetune_trainer.data.files import (
    dataset_files,
    is_data,
    is_glob,
    matches,
    no_data,
    select_split,
    split_glob,
)
from finetune_trainer.prepare.bucket import BucketSource
from finetune_trainer.prepare.fetch import fetch
from finetune_trainer.prepare.hub import HubSource
from finetune_trainer.prepare.lock import exclusive
from finetune_trainer.prepare.source import Source, parse_location


@dataclass(frozen=True, kw_only=True)
class SourceFiles:
    """The files of a source's split in the volume, by the names that errors call them."""

    source: DataSource
    files: Mapping[str, Path]
    revision: str | None = None
    """The commit that was fetched; None where the source has none."""


def fetch_sources(dataset: Dataset, root: Path) -> list[SourceFiles]:
    """Have the files of every source in the volume. Raises DataError for a source that has none.

    Where there are several, a file is called by its path in the volume, and is of one of them.
    """
    fetched = [fetch_source(source, root, field) for field, source in fields_of(dataset).items()]
    if len(fetched) == 1:
        return fetched
    fetched = [
        replace(own, files={str(file.relative_to(root)): file for file in own.files.values()})
        for own in fetched
    ]
    _refuse_twice(fetched)
    return fetched


def found_files(dataset: Dataset, root: Path) -> dict[str, Path] | None:
    """The files of all sources, by their paths in the volume, as far as they are in it now.

    None if a source in the volume is gone. Of remote sources there are none: nobody asks them again.
    """
    try:
        local = [source for source in dataset.sources if "://" not in source.uri]
        files = [dataset_files(root, source.path, source.split).values() for source in local]
    except DataError:
        return None
    return {str(file.relative_to(root)): file for own in files for file in own}


def fields_of(dataset: Dataset) -> dict[str, DataSource]:
    """The sources, by how the spec calls them."""
    if len(dataset.sources) == 1:
        return {"dataset": dataset.sources[0]}
    return {f"dataset.sources[{number}]": source for number, source in enumerate(dataset.sources)}


def fetch_source(source: DataSource, root: Path, field: str) -> SourceFiles:
    """Have the files of a source in the volume; `field` is how the spec calls it. Raises DataError."""
    location = parse_location(source.uri, f"{field}.uri")
    if not location.scheme:
        return SourceFiles(source=source, files=dataset_files(root, source.path, source.split))
    remote, pattern = _remote(source, location.scheme, location.container, location.path)
    listing, folder = remote.list_files(), root / source.path
    names = [file.name for file in listing.files if is_data(file.name) and matches(file.name, pattern)]
    # A file that is named is read, whatever its name says of splits.
    wanted = names if names == [pattern] else sorted(select_split(names, source.split))
    if not wanted:
        raise no_data(source.uri, source.split, names)
    with exclusive(folder):
        fetch(remote, listing, [file for file in listing.files if file.name in wanted], folder)
    # Only these: another job may have fetched others of the same repository.
    return SourceFiles(
        source=source, files={name: folder / name for name in wanted}, revision=listing.revision
    )


def _remote(source: DataSource, scheme: str, container: str, path: str) -> tuple[Source, str]:
    """Where files are fetched from, and which of them: all of a bucket's folder, but for a glob in it."""
    if scheme == "hf":
        return HubSource(container, source.revision, "dataset"), path
    folder, pattern = split_glob(path) if is_glob(path) else (path, "")
    return BucketSource(container, folder), pattern


def _refuse_twice(fetched: Sequence[SourceFiles]) -> None:
    """Raises DataError for a file of two sources: its rows would train twice, unseen."""
    counts = Counter(name for own in fetched for name in own.files)
    for name, count in counts.items():
        if count > 1:
            where = [str(number) for number, own in enumerate(fetched) if name in own.files]
            raise DataError(
                f"{name}: is in dataset.sources {' and '.join(where)}",
                remedy="Name it in one of them, and give that one a larger share to train it more often",
            )
