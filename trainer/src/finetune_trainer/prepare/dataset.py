"""The dataset: fetched or found in the volume, tokenized, and reported."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from finetune_trainer.contract.failure import ConfigurationError, DataError
from finetune_trainer.contract.run_file import Dataset, RunFile, RunFolders
from finetune_trainer.data.document import Document
from finetune_trainer.data.files import FORMATS, dataset_files, is_data, select_split
from finetune_trainer.data.formats import Reading
from finetune_trainer.data.packing import Packing, pack
from finetune_trainer.data.store import TokenStore, split
from finetune_trainer.data.tokenize import Tally, read_documents
from finetune_trainer.data.tokenizer import ChatTokenizer, load_tokenizer
from finetune_trainer.prepare.bucket import BucketSource
from finetune_trainer.prepare.examples import examples
from finetune_trainer.prepare.fetch import fetch
from finetune_trainer.prepare.file_tally import DatasetTally
from finetune_trainer.prepare.hub import HubSource
from finetune_trainer.prepare.lock import exclusive
from finetune_trainer.prepare.report import DataReport
from finetune_trainer.prepare.source import Source, parse_location
from finetune_trainer.train.config import total_steps
from finetune_trainer.train.parallelism import batch_sizes


@dataclass(frozen=True, kw_only=True)
class DatasetFiles:
    """The files of the run's split in the volume, by the names that errors call them."""

    files: Mapping[str, Path]
    revision: str | None = None
    """The commit that was fetched; None where the source has none."""


def fetch_dataset(dataset: Dataset, target: Path) -> DatasetFiles:
    """Have the dataset's files of its split in the volume. Raises DataError if there are none."""
    source = _source(dataset)
    if source is None:
        return DatasetFiles(files=dataset_files(target, dataset.split))
    location = parse_location(dataset.uri, "dataset.uri")
    listing = source.list_files()
    below = f"{location.path}/" if location.scheme == "hf" and location.path else ""
    names = [
        file.name
        for file in listing.files
        if is_data(file.name) and (file.name == location.path or file.name.startswith(below))
    ]
    wanted = sorted(select_split(names, dataset.split))
    if not wanted:
        raise DataError(
            f"{dataset.uri}: no {FORMATS} file of split {dataset.split}",
            remedy="Correct dataset.uri or dataset.split; the dataset has to be JSON lines or parquet",
        )
    with exclusive(target):
        fetch(source, listing, [file for file in listing.files if file.name in wanted], target)
    # Only these: another job may have fetched others of the same repository.
    return DatasetFiles(files={name: target / name for name in wanted}, revision=listing.revision)


def _source(dataset: Dataset) -> Source | None:
    location = parse_location(dataset.uri, "dataset.uri")
    if location.scheme == "hf":
        # The run file names no revision of a dataset: its default branch.
        return HubSource(location.container, None, "dataset")
    if location.scheme == "s3":
        return BucketSource(location.container, location.path)
    return None


def tokenize_dataset(run: RunFile, folders: RunFolders, dataset: DatasetFiles) -> DataReport:
    """Tokenize all documents into the run's folder. Raises DataError naming file and line."""
    tally = DatasetTally()
    read = partial(
        _read_documents,
        reading=Reading.of(run.dataset),
        tokenizer=load_tokenizer(folders.base),
        longest=run.training.sequence_length,
    )
    store = TokenStore.write(tally.counted(dataset.files, read), folders.tokens)
    if not len(store):
        raise _nothing_left(run, folders.dataset, tally)
    packing, validating = _pack(run, folders, store)
    lengths, batch = store.lengths(), batch_sizes(run)["global_batch_size"]
    return DataReport(
        source=run.dataset.uri,
        revision=dataset.revision,
        split=run.dataset.split,
        files=list(dataset.files),
        lines=tally.rows,
        documents=len(store),
        tokens=len(store.tokens),
        trained_tokens=int(store.trained.sum()),
        longest_document=int(lengths.max()) + 1,
        sequences=len(packing),
        packed_share=int(lengths[packing.documents].sum()) / (len(packing) * packing.sequence_length),
        epoch_steps=-(-len(packing) // batch),
        last_step_sequences=(len(packing) - 1) % batch + 1,
        validation_documents=validating,
        sequence_length=run.training.sequence_length,
        batch_sequences=batch,
        steps=total_steps(run, len(packing)),
        truncated_lines=sum(file.rows.truncated_lines for file in tally.files),
        tokens_cut=sum(file.rows.tokens_cut for file in tally.files),
        dropped=dict(tally.dropped),
        first_dropped=tally.first_dropped,
        by_file=[file.report() for file in tally.files],
        examples=examples(store, folders.base, tally.place_of),
    )


def _read_documents(
    files: Mapping[str, Path], tally: Tally, *, reading: Reading, tokenizer: ChatTokenizer, longest: int
) -> Iterator[Document]:
    return read_documents(files, reading=reading, tokenizer=tokenizer, longest=longest, tally=tally)


def _pack(run: RunFile, folders: RunFolders, store: TokenStore) -> tuple[Packing, int]:
    """Pack the documents that train, and those that validate; the first packing, the number of the latter."""
    training, validation = split(len(store), run.dataset.validation_share, run.training.seed)
    lengths, length, seed = store.lengths(), run.training.sequence_length, run.training.seed
    shutil.rmtree(folders.tokens / "validation", ignore_errors=True)
    if len(validation):
        pack(
            folders.tokens / "validation",
            lengths=lengths,
            members=validation,
            sequence_length=length,
            seed=seed,
        )
    packing = pack(
        folders.tokens / "training", lengths=lengths, members=training, sequence_length=length, seed=seed
    )
    return packing, len(validation)


def _nothing_left(run: RunFile, dataset: Path, tally: DatasetTally) -> DataError | ConfigurationError:
    if not tally.rows:
        return DataError(f"{dataset}: the dataset is empty", remedy="Add at least one line")
    return ConfigurationError(
        f"{dataset}: none of {tally.rows} lines fits into {run.training.sequence_length} tokens",
        remedy="Raise training.sequenceLength",
    )
