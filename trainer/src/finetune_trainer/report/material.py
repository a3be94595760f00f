"""What a run has left in its folder, as the sections read it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from finetune_trainer.checkpoint.selection import Selection, selection
from finetune_trainer.contract.run_file import RunFile, RunFolders
from finetune_trainer.report.curves import Metrics
from finetune_trainer.report.lineage import read_json

PLANNED_MEMORY = "FINETUNE_PLANNED_MEMORY"
"""Bytes of a training process, by the operator's arithmetic; not set where it did not know the base."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """The files of a run, read once."""

    run: RunFile
    run_file: Path
    folders: RunFolders
    metrics: Metrics
    data: dict[str, Any]
    """The data report; empty where there is none."""
    failure: str | None
    chosen: Selection | None
    """The exported step; None where training failed."""
    planned_memory: int | None

    @classmethod
    def read(cls, run: RunFile, run_file: Path, folders: RunFolders, *, failure: str | None) -> Self:
        training = run.training
        chosen = selection(folders.checkpoints, training.select, training.validation.patience)
        planned = os.environ.get(PLANNED_MEMORY, "")
        return cls(
            run=run,
            run_file=run_file,
            folders=folders,
            metrics=Metrics.read(folders.metrics),
            data=read_json(folders.data_report),
            failure=failure,
            chosen=None if failure else chosen,
            planned_memory=int(planned) if planned.isdecimal() else None,
        )
