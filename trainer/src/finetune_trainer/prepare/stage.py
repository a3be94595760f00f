"""The prepare stage, in the order that fails earliest: configuration, description, data, weights."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from finetune_trainer.contract.failure import tell
from finetune_trainer.contract.progress import FetchProgress, serve_progress
from finetune_trainer.contract.run_file import RunFile, RunFolders
from finetune_trainer.contract.whole_file import write_json
from finetune_trainer.data import dataloader_config
from finetune_trainer.data.tokenizer import load_tokenizer
from finetune_trainer.model.flavors import is_known
from finetune_trainer.prepare.adapter import prepare_adapter
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
from finetune_trainer.prepare.dataset import tokenize_dataset
from finetune_trainer.prepare.evaluation import prepare_evaluation
from finetune_trainer.prepare.lock import exclusive
from finetune_trainer.prepare.marker import Marker
from finetune_trainer.prepare.parity import compare_with_transformers
from finetune_trainer.prepare.ready import is_prepared
from finetune_trainer.prepare.sources import SourceFiles, fetch_sources, found_files
from finetune_trainer.tracking import check_trackers
from finetune_trainer.train.config import check_config, samples_config
from finetune_trainer.train.samples import encoded_prompts

logger = logging.getLogger(__name__)


def prepare(run: RunFile, folders: RunFolders) -> None:
    """Prepare the run, and tell how large its base is. Raises a Failure. What is done already is left."""
    prepare_evaluation(run, folders)
    if is_prepared(folders) and _has_its_data(run, folders):
        logger.info("%s is prepared", folders.run)
    else:
        _prepare(run, folders)
    tell({"architecture": architecture_of_base(folders.base)})


def _prepare(run: RunFile, folders: RunFolders) -> None:
    check_trackers(run)
    if is_known(run.flavor, folders.base):
        check_config(run, folders, dataloader_config(run, folders))
    progress = FetchProgress(folders.base)
    with serve_progress(progress.snapshot):
        sources = fetch_sources(run.dataset, folders.root)
        files = _by_path(sources, folders)
        records = record_files(files)
        require_data_of_training(folders, records)
        with exclusive(folders.base):
            marker = prepare_base(
                run.model,
                run.flavor,
                folders.base,
                root=folders.root,
                before_weights=lambda: _tokenize(run, folders, sources, records),
                expect=progress.expect,
            )
        parity = _parity(run, folders)
    write_json(folders.prepared, _content(marker, sources, records) | {"parity": parity})


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
    """Whether the data is still what the run was prepared from; what is gone has not changed."""
    records = recorded_files(folders)
    if records is None:
        return False
    found = found_files(run.dataset, folders.root)
    if found is None:
        return True
    remote = tuple(f"{source.path}/" for source in run.dataset.sources if "://" in source.uri)
    fetched = {name: folders.root / name for name in records if name.startswith(remote)}
    there = {name: file for name, file in fetched.items() if file.is_file()}
    gone = fetched.keys() - there.keys()
    return is_as_recorded(
        found | there, {name: record for name, record in records.items() if name not in gone}
    )


def _by_path(sources: Sequence[SourceFiles], folders: RunFolders) -> dict[str, Path]:
    """All files, by their paths in the volume."""
    files = [file for own in sources for file in own.files.values()]
    return {str(file.relative_to(folders.root)): file for file in files}


def _tokenize(run: RunFile, folders: RunFolders, sources: Sequence[SourceFiles], records: Records) -> None:
    check_config(run, folders, dataloader_config(run, folders))  # by the base's own config.json
    prepare_adapter(run, folders)
    encoded_prompts(samples_config(run), load_tokenizer(folders.base), run.training.sequence_length)
    report = tokenize_dataset(run, folders, sources)
    require_untouched(_by_path(sources, folders), records)
    write_json(folders.data_report, report.to_json())
    logger.info("%s", report)


def _content(marker: Marker, sources: Sequence[SourceFiles], records: Records) -> dict[str, object]:
    base = {
        "source": marker.source,
        "revision": marker.revision,
        "bytes": marker.size,
        "files": len(marker.files),
    }
    fetched = {
        "sources": [{"source": own.source.uri, "revision": own.revision} for own in sources],
        "files": {name: asdict(record) for name, record in records.items()},
    }
    return {"schemaVersion": 1, "base": base, "dataset": fetched}
