"""The adapter that a run starts from: fetched or found in the volume, and checked against the run."""

import logging
from pathlib import Path

import torch

from finetune_trainer.checkpoint.peft_adapter import CONFIG, WEIGHTS
from finetune_trainer.checkpoint.warm_start import check_adapter, expected_tensors
from finetune_trainer.contract.failure import DataError, Reason
from finetune_trainer.contract.run_file import AdapterSource, RunFile, RunFolders
from finetune_trainer.model.names import CheckpointNames
from finetune_trainer.prepare.fetch import fetch
from finetune_trainer.prepare.lock import exclusive
from finetune_trainer.prepare.remote import remote_folder
from finetune_trainer.train.config import lora_settings, model_spec

logger = logging.getLogger(__name__)


def prepare_adapter(run: RunFile, folders: RunFolders) -> None:
    """Have the adapter of lora.from in the volume, fit to start from. The base's config.json is there."""
    source = run.lora.from_
    if source is None:
        return
    folder = folders.root / source.path
    _have(source, folder)
    config = model_spec(run, folders).model
    with torch.device("meta"):
        model = config.build()
    check_adapter(
        folder,
        settings=lora_settings(run),
        base=run.model.uri,
        expected=expected_tensors(model, CheckpointNames.of(config)),
    )
    logger.info("training starts from the adapter %s", folder)


def _have(source: AdapterSource, folder: Path) -> None:
    remote = remote_folder(source.uri, source.revision, "lora.from.uri")
    if remote is None:
        if not folder.is_dir():
            raise DataError(
                f"lora.from: {folder}: no such folder",
                Reason.ADAPTER_MISMATCH,
                remedy="Correct lora.from: uri names a folder in the volume, fineTuneJobRef a job",
            )
        return
    listing = remote.list_files()
    with exclusive(folder):
        fetch(remote, listing, [file for file in listing.files if file.name in (CONFIG, WEIGHTS)], folder)
