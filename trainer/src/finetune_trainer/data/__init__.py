"""The training data: chat or text, tokenized and packed by prepare, read by the dataloader."""

from finetune_trainer.contract.run_file import RunFile, RunFolders
from finetune_trainer.data.columns import INDEX
from finetune_trainer.data.loader import PackedDataLoader
from finetune_trainer.data.mixture import Mixture
from finetune_trainer.data.packing import Packing

__all__ = ["PackedDataLoader", "count_sequences", "dataloader_config", "has_validation"]


def dataloader_config(
    run: RunFile, folders: RunFolders, *, validation: bool = False
) -> PackedDataLoader.Config:
    """What torchtitan builds the dataloader from. The data is read only then."""
    return PackedDataLoader.Config(
        dataset=", ".join(source.uri for source in run.dataset.sources),
        dataset_path=str(folders.tokens),
        part="validation" if validation else "training",
        seed=run.training.seed,
        shuffle=not validation,
        epochs=None if validation else run.training.epochs,
    )


def has_validation(folders: RunFolders) -> bool:
    return (folders.tokens / "validation" / INDEX).exists()


def count_sequences(folders: RunFolders) -> int:
    """Packed sequences in an epoch of the training data. Raises DataError before prepare has run."""
    return Mixture(Packing.load(folders.tokens / "training").parts).epoch
