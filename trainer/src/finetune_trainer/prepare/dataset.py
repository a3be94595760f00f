"""The dataset, tokenized, packed, and reported."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from finetune_trainer.contract.failure import ConfigurationError, DataError
from finetune_trainer.contract.run_file import RunFile, RunFolders
from finetune_trainer.data.document import Document
from finetune_trainer.data.formats import Reading
from finetune_trainer.data.mixture import Mixture
from finetune_trainer.data.packing import Members, Packing, pack
from finetune_trainer.data.store import TokenStore, split
from finetune_trainer.data.tokenize import DocumentReader, Tally
from finetune_trainer.data.tokenizer import ChatTokenizer, load_tokenizer
from finetune_trainer.prepare.examples import examples
from finetune_trainer.prepare.file_tally import DatasetTally, Read
from finetune_trainer.prepare.report import DataReport, SourceReport
from finetune_trainer.prepare.sources import SourceFiles
from finetune_trainer.train.config import total_steps
from finetune_trainer.train.parallelism import batch_sizes


def tokenize_dataset(run: RunFile, folders: RunFolders, sources: Sequence[SourceFiles]) -> DataReport:
    """Tokenize all documents into the run's folder. Raises DataError naming file and line."""
    reader = _DatasetReader(run=run, folders=folders, sources=sources)
    pairs = run.training.method == "dpo"
    store, tally = TokenStore.write(reader, folders.tokens, pairs=pairs), reader.tally
    documents = [reader.documents_of(own) for own in sources]
    packing, validating = _pack(run, folders, store, documents)
    lengths, epoch, batch = (
        store.lengths(),
        Mixture(packing.parts).epoch,
        batch_sizes(run)["global_batch_size"],
    )
    return DataReport(
        sources=_sources(sources, documents, packing),
        lines=tally.rows,
        documents=len(store),
        tokens=len(store.tokens),
        trained_tokens=int(store.trained.sum()),
        longest_document=int(lengths.max()) + 1,
        sequences=epoch,
        packed_share=int(lengths[packing.documents].sum()) / (len(packing) * packing.sequence_length),
        epoch_steps=-(-epoch // batch),
        last_step_sequences=(epoch - 1) % batch + 1,
        validation_documents=validating,
        sequence_length=run.training.sequence_length,
        batch_sequences=batch,
        steps=total_steps(run, epoch),
        truncated_lines=sum(file.rows.truncated_lines for file in tally.files),
        tokens_cut=sum(file.rows.tokens_cut for file in tally.files),
        dropped=dict(tally.dropped),
        first_dropped=tally.first_dropped,
        by_file=[file.report() for file in tally.files],
        examples=examples(store, folders.base, tally.place_of),
    )


@dataclass(frozen=True, kw_only=True)
class _DatasetReader:
    """Reads one source after the other as documents, and counts meanwhile what becomes of their files."""

    run: RunFile
    folders: RunFolders
    sources: Sequence[SourceFiles]
    tally: DatasetTally = field(default_factory=DatasetTally)

    def __iter__(self) -> Iterator[Document]:
        """Raises DataError if a source has no document."""
        tokenizer = load_tokenizer(self.folders.base)
        for own in self.sources:
            before = self.tally.rows
            reading = Reading.of(own.source, of_pairs=self.run.training.method == "dpo")
            yield from self.tally.counted(own.files, self._reader(reading, tokenizer))
            if not self.documents_of(own):
                raise _nothing_left(self.run, self.folders.root / own.source.path, self.tally.rows - before)

    def documents_of(self, own: SourceFiles) -> int:
        """How many a source had, once they were gone through."""
        return sum(file.documents for file in self.tally.files if file.name in own.files)

    def _reader(self, reading: Reading, tokenizer: ChatTokenizer) -> Read:
        return lambda name, file, before: DocumentReader(
            files={name: file},
            reading=reading,
            tokenizer=tokenizer,
            longest=self.run.training.sequence_length,
            tally=Tally(lines=before),
        )


def _pack(
    run: RunFile, folders: RunFolders, store: TokenStore, documents: Sequence[int]
) -> tuple[Packing, int]:
    """Pack the documents that train, and those that validate; the first packing, the number of the latter.

    documents: how many of the store's are of each source.
    """
    training, validation, first, seed = [], [], 0, run.training.seed
    for name, source, count in zip(run.dataset.names, run.dataset.sources, documents, strict=True):
        numbers, held_out = split(count, run.dataset.validation_share, seed)
        learned = store.learned(first, first + count)
        of_pairs = store.rejected is not None
        training.append(_members(name, numbers, first, learned, source.share, of_pairs))
        if len(held_out):
            validation.append(_members(name, held_out, first, learned, None, of_pairs))
        first += count
    lengths, length = store.lengths(), run.training.sequence_length
    shutil.rmtree(folders.tokens / "validation", ignore_errors=True)
    if validation:
        folder = folders.tokens / "validation"
        pack(folder, lengths=lengths, sources=validation, sequence_length=length, seed=seed)
    folder = folders.tokens / "training"
    packing = pack(folder, lengths=lengths, sources=training, sequence_length=length, seed=seed)
    return packing, sum(len(members.documents) for members in validation)


def _members(
    name: str,
    numbers: torch.Tensor,
    first: int,
    learned: torch.Tensor,
    share: float | None,
    of_pairs: bool,
) -> Members:
    trained = int(learned[numbers].sum())
    return Members(
        documents=numbers + first, trained_tokens=trained, share=share, name=name, of_pairs=of_pairs
    )


def _sources(
    sources: Sequence[SourceFiles], documents: Sequence[int], packing: Packing
) -> list[SourceReport]:
    mixture = Mixture(packing.parts)
    passes = mixture.passes(mixture.epoch)
    trained = [part.counted * times for part, times in zip(packing.parts, passes, strict=True)]
    return [
        SourceReport(
            source=own.source.uri,
            revision=own.revision,
            split=own.source.split,
            files=list(own.files),
            documents=documents[number],
            trained_tokens=packing.parts[number].trained_tokens,
            share=trained[number] / max(1.0, sum(trained)),
            epoch_passes=passes[number],
        )
        for number, own in enumerate(sources)
    ]


def _nothing_left(run: RunFile, place: Path, rows: int) -> DataError | ConfigurationError:
    if not rows:
        return DataError(f"{place}: the dataset is empty", remedy="Add at least one line")
    return ConfigurationError(
        f"{place}: none of {rows} lines fits into {run.training.sequence_length} tokens",
        remedy="Raise training.sequenceLength",
    )
