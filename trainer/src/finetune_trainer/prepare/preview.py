"""The data report without a run: what would train, and how, before anything is paid for."""

import shutil
from dataclasses import replace

from finetune_trainer.contract.run_file import RunFile, RunFolders
from finetune_trainer.data import dataloader_config
from finetune_trainer.model.flavors import is_known
from finetune_trainer.prepare.base import describe_base
from finetune_trainer.prepare.dataset import tokenize_dataset
from finetune_trainer.prepare.lock import exclusive
from finetune_trainer.prepare.report import DataReport
from finetune_trainer.prepare.sources import fetch_sources
from finetune_trainer.train.config import check_config


def preview_data(run: RunFile, folders: RunFolders) -> DataReport:
    """Tokenize the dataset as prepare does, and keep nothing of it. Raises a Failure.

    Of the base what describes it is fetched, never the weights.
    """
    if is_known(run.flavor, folders.base):
        check_config(run, folders, dataloader_config(run, folders))
    sources = fetch_sources(run.dataset, folders.root)
    with exclusive(folders.base):
        describe_base(run.model, run.flavor, folders.base, folders.root)
    check_config(run, folders, dataloader_config(run, folders))
    aside = RunFolders(root=folders.root, paths=replace(folders.paths, run=f"{folders.paths.run}/preview"))
    try:
        return tokenize_dataset(run, aside, sources)
    finally:
        shutil.rmtree(aside.run, ignore_errors=True)
