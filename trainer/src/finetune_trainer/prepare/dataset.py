"""The dataset: fetched or found in the volume, tokenized, and reported."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finetune_trainer.data import count_sequences
from finetune_trainer.data.files import SUFFIX, dataset_files, select_split
from finetune_trainer.data.store import TokenStore, split
from finetune_trainer.data.tokenize import Tally, read_documents
from finetune_trainer.data.tokenizer import load_tokenizer
from finetune_trainer.failure import ConfigurationError, DataError
from finetune_trainer.prepare.bucket import BucketSource
from finetune_trainer.prepare.fetch import fetch
from finetune_trainer.prepare.hub import HubSource
from finetune_trainer.prepare.lock import exclusive
from finetune_trainer.prepare.source import Source, parse_location
from finetune_trainer.run import Dataset, RunFile, RunFolders


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """What the dataset is, for prepared.json and the user."""

    files: list[str]
    lines: int
    documents: int
    tokens: int
    trained_tokens: int
    sequences: int
    """Packed training sequences in one epoch."""
    validation_documents: int
    dropped: dict[str, int]
    """Documents by why they train nothing."""

    def to_json(self) -> dict[str, Any]:
        content = asdict(self)
        renamed = {"trained_tokens": "trainedTokens", "validation_documents": "validationDocuments"}
        return {renamed.get(key, key): value for key, value in content.items()}


def fetch_dataset(dataset: Dataset, target: Path) -> None:
    """Have the dataset's files of its split in the volume. A path is left to `dataset_files`."""
    location = parse_location(dataset.uri, "dataset.uri")
    source = _source(dataset)
    if source is None:
        return
    listing = source.list_files()
    below = f"{location.path}/" if location.scheme == "hf" and location.path else ""
    names = [
        file.name
        for file in listing.files
        if file.name.endswith(SUFFIX) and (file.name == location.path or file.name.startswith(below))
    ]
    wanted = set(select_split(names, dataset.split))
    if not wanted:
        raise DataError(
            f"{dataset.uri}: no *{SUFFIX} file of split {dataset.split}",
            remedy="Correct dataset.uri or dataset.split; the dataset has to be JSON lines",
        )
    with exclusive(target):
        fetch(source, listing, [file for file in listing.files if file.name in wanted], target)


def _source(dataset: Dataset) -> Source | None:
    location = parse_location(dataset.uri, "dataset.uri")
    if location.scheme == "hf":
        # The run file names no revision of a dataset: its default branch.
        return HubSource(location.container, None, "dataset")
    if location.scheme == "s3":
        return BucketSource(location.container, location.path)
    return None


def tokenize_dataset(run: RunFile, folders: RunFolders) -> DataReport:
    """Tokenize all documents into the run's folder. Raises DataError naming file and line."""
    tally, length = Tally(), run.training.sequence_length
    files = dataset_files(folders.dataset, run.dataset.split)
    documents = read_documents(
        files,
        data_format=run.dataset.format,
        tokenizer=load_tokenizer(folders.base),
        longest=length,
        tally=tally,
    )
    store = TokenStore.of(documents)
    if not len(store):
        raise _nothing_left(run, folders.dataset, tally)
    training, validation = split(store, run.dataset.validation_share, run.training.seed)
    _save(store, training, folders.training_tokens)
    if validation:
        _save(store, validation, folders.validation_tokens)
    else:
        folders.validation_tokens.unlink(missing_ok=True)
    return DataReport(
        files=list(files),
        lines=tally.lines,
        documents=len(store),
        tokens=len(store.tokens),
        trained_tokens=int(store.trained.sum()),
        sequences=count_sequences(run, folders),
        validation_documents=len(validation),
        dropped=dict(tally.dropped),
    )


def _save(store: TokenStore, documents: Iterable[int], file: Path) -> None:
    store.select(documents).save(file)


def _nothing_left(run: RunFile, dataset: Path, tally: Tally) -> DataError | ConfigurationError:
    if not tally.lines:
        return DataError(f"{dataset}: the dataset is empty", remedy="Add at least one line")
    return ConfigurationError(
        f"{dataset}: none of {tally.lines} lines fits into {run.training.sequence_length} tokens",
        remedy="Raise training.sequenceLength",
    )
