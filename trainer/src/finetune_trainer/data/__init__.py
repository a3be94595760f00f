"""The training data: chat or text JSON lines, tokenized by prepare and packed by the dataloader."""

from finetune_trainer.contract.run_file import RunFile, RunFolders
from finetune_trainer.data.loader import PackedDataLoader
from finetune_trainer.data.packing import SequenceOrder
from finetune_trainer.data.store import TokenStore

__all__ = ["PackedDataLoader", "count_sequences", "dataloader_config", "has_validation"]


def dataloader_config(
    run: RunFile, folders: RunFolders, *, validation: bool = False
) -> PackedDataLoader.Config:
    """What torchtitan builds the dataloader from. The data is read only then."""
    file = folders.validation_tokens if validation else folders.training_tokens
    return PackedDataLoader.Config(
        dataset=run.dataset.uri, dataset_path=str(file), seed=run.training.seed, shuffle=not validation
    )


def has_validation(folders: RunFolders) -> bool:
    return folders.validation_tokens.exists()


def count_sequences(run: RunFile, folders: RunFolders) -> int:
    """Packed sequences in the first pass over the training data. Raises DataError before prepare has run."""
    lengths = TokenStore.load(folders.training_tokens).lengths()
    order = SequenceOrder(lengths, sequence_length=run.training.sequence_length, seed=run.training.seed)
    return order.first_epoch_sequences
