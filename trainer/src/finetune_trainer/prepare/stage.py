"""The prepare stage, in the order that fails earliest: configuration, description, data, weights."""

import logging
from dataclasses import asdict
from typing import Any

from finetune_trainer.contract.failure import tell
from finetune_trainer.contract.progress import FetchProgress, serve_progress
from finetune_trainer.contract.run_file import RunFile, RunFolders
from finetune_trainer.data import dataloader_config
from finetune_trainer.data.files import dataset_files
from finetune_trainer.model.flavors import is_known
from finetune_trainer.prepare.architecture import architecture_of_base
from finetune_trainer.prepare.base import prepare_base
from finetune_trainer.prepare.data_record import (
    Records,
    is_as_recorded,
    record_files,
    recorded_files,
    require_data_of_training,
    require_untouched,
)
from finetune_trainer.prepare.dataset import DatasetFiles, fetch_dataset, tokenize_dataset
from finetune_trainer.prepare.lock import exclusive
from finetune_trainer.prepare.marker import Marker, write_json
from finetune_trainer.prepare.parity import compare_with_transformers
from finetune_trainer.prepare.ready import is_prepared
from finetune_trainer.train.config import check_config

logger = logging.getLogger(__name__)


def prepare(run: RunFile, folders: RunFolders) -> None:
    """Prepare the run, and tell how large its base is. Raises a Failure. What is done already is left."""
    if is_prepared(folders) and _has_its_data(run, folders):
        logger.info("%s is prepared", folders.run)
    else:
        _prepare(run, folders)
    tell({"architecture": architecture_of_base(folders.base)})


def _prepare(run: RunFile, folders: RunFolders) -> None:
    if is_known(run.flavor, folders.base):
        check_config(run, folders, dataloader_config(run, folders))
    progress = FetchProgress(folders.base)
    with serve_progress(progress.snapshot):
        dataset = fetch_dataset(run.dataset, folders.dataset)
        records = record_files(dataset.files)
        require_data_of_training(folders, records)
        with exclusive(folders.base):
            marker = prepare_base(
                run.model,
                run.flavor,
                folders.base,
                before_weights=lambda: _tokenize(run, folders, dataset, records),
                expect=progress.expect,
            )
        parity = _parity(run, folders)
    write_json(folders.prepared, _content(run, marker, dataset, records) | {"parity": parity})


def _parity(run: RunFile, folders: RunFolders) -> dict[str, Any] | None:
    """How the trainer's model compares with transformers'; None where it was not compared."""
    if not run.model.verify:
        logger.warning("model.verify is false: the trainer's model is not compared with transformers'")
        return None
    report = compare_with_transformers(run.flavor, folders.base)
    if report is None:
        return None
    logger.info("%s", report)
    return report.to_json()


def _has_its_data(run: RunFile, folders: RunFolders) -> bool:
    """Whether the dataset is still what the run was prepared from; one that is gone has not changed."""
    records = recorded_files(folders)
    if records is None:
        return False
    if "://" in run.dataset.uri:
        files = {name: folders.dataset / name for name in records}
        return not all(file.is_file() for file in files.values()) or is_as_recorded(files, records)
    return not folders.dataset.exists() or is_as_recorded(
        dataset_files(folders.dataset, run.dataset.split), records
    )


def _tokenize(run: RunFile, folders: RunFolders, dataset: DatasetFiles, records: Records) -> None:
    check_config(run, folders, dataloader_config(run, folders))  # by the base's own config.json
    report = tokenize_dataset(run, folders, dataset)
    require_untouched(dataset.files, records)
    write_json(folders.data_report, report.to_json())
    logger.info("%s", report)


def _content(run: RunFile, marker: Marker, dataset: DatasetFiles, records: Records) -> dict[str, object]:
    base = {
        "source": marker.source,
        "revision": marker.revision,
        "bytes": marker.size,
        "files": len(marker.files),
    }
    fetched = {
        "source": run.dataset.uri,
        "revision": dataset.revision,
        "files": {name: asdict(record) for name, record in records.items()},
    }
    return {"schemaVersion": 1, "base": base, "dataset": fetched}
