"""What a job would train on: the trainer's own report, by its command in a process of its own."""

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.objects import Manifest
from finetune_operator.core.run import build_run_file
from finetune_operator.core.termination import Termination, parse_termination
from finetune_operator.local.environments import Environment


@dataclass(frozen=True, kw_only=True)
class NoReport(Exception):  # noqa: N818
    """The dataset or the base is refused."""

    termination: Termination


def read_data_report(job: Manifest, storage: Path, trainer: Environment) -> dict[str, Any]:
    """Return the data report of a job that need not have run. Raises NoReport when there can be none."""
    with tempfile.TemporaryDirectory() as scratch:
        run, log = Path(scratch, "run.json"), Path(scratch, "termination-log")
        run.write_text(build_run_file(FineTuneJob.model_validate(job)).model_dump_json(by_alias=True))
        command = [trainer.resolve("python"), "-m", "finetune_trainer", "data"]
        ended = subprocess.run(
            [*command, "--run", str(run), "--root", str(storage)],
            env={**os.environ, "FINETUNE_TERMINATION_LOG": str(log)},
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            told = log.read_text() if log.exists() else ended.stderr
            raise NoReport(termination=parse_termination(ended.returncode, told))
    report: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return report
