"""Whether a run is prepared."""

import json

from finetune_trainer.contract.failure import DataError
from finetune_trainer.contract.run_file import RunFolders
from finetune_trainer.prepare.marker import read_marker, require_complete


def is_prepared(folders: RunFolders) -> bool:
    """Base and data are as prepare left them."""
    marker = read_marker(folders.base)
    return marker is not None and marker.describes(folders.base) and _has_data(folders)


def require_prepared(folders: RunFolders) -> None:
    """Raises DataError unless base and data are ready for training."""
    require_complete(folders.base)
    if not _has_data(folders):
        raise DataError(f"{folders.prepared}: the run has not been prepared", remedy="Run prepare first")


def _has_data(folders: RunFolders) -> bool:
    try:
        json.loads(folders.prepared.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (folders.tokens / "training" / "index.json").exists()
