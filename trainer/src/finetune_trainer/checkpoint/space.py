"""Whether the volume has room for the checkpoints to come."""

import shutil
from pathlib import Path

from finetune_trainer.contract.failure import Reason, StorageError

GIB = 2**30


def check_checkpoint_space(folder: Path, checkpoint_bytes: int, missing: int) -> None:
    """Space for `missing` checkpoints more. Raises StorageError."""
    folder.mkdir(parents=True, exist_ok=True)
    free, needed = shutil.disk_usage(folder).free, checkpoint_bytes * missing
    if free < needed:
        raise StorageError(
            f"{folder}: {missing} checkpoints need {needed / GIB:,.2f} GiB, the volume has "
            f"{free / GIB:,.2f} GiB free",
            Reason.STORAGE_FULL,
            remedy="Free space, enlarge the volume, or lower training.checkpoint.keep",
        )
