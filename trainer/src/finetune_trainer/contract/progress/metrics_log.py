"""metrics.jsonl: one line per logged step, each step once."""

import json
import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from finetune_trainer.contract.progress.snapshot import camel_case, finite

logger = logging.getLogger(__name__)


class MetricsLog:
    """Appends lines. A resumed run repeats the steps after its checkpoint, so their old lines go first.

    A thread writes: a volume that hangs for minutes must not have all the ranks wait for this one.
    """

    def __init__(self, file: Path, *, resumed_step: int) -> None:
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        # Step 0 is a validation before training: a run that begins anew measures it anew.
        _forget_after(file, resumed_step or -1)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="metrics")

    def append(self, values: Mapping[str, Any]) -> None:
        """Have one line written, names in camelCase."""
        content = {camel_case(name): finite(value) for name, value in values.items() if value is not None}
        self._thread.submit(self._write, json.dumps(content).encode() + b"\n")

    def close(self) -> None:
        """Return when every line is written."""
        self._thread.shutdown()

    def _write(self, line: bytes) -> None:
        """A full disk must not end the training here: it is logged."""
        try:
            with self._file.open("ab", buffering=0) as stream:
                stream.write(line)
        except OSError as error:
            logger.warning("%s: %s", self._file, error)


def _forget_after(file: Path, step: int) -> None:
    """Keep whole lines up to `step`; the rewritten file appears by one rename."""
    if not file.exists():
        return
    lines = file.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if _step_of(line) <= step]
    if len(kept) == len(lines):
        return
    part = file.with_name(file.name + ".part")
    with part.open("wb") as stream:
        stream.writelines(kept)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)


def _step_of(line: bytes) -> float:
    """Infinity for a line that a crash cut off."""
    try:
        return float(json.loads(line)["step"]) if line.endswith(b"\n") else float("inf")
    except (ValueError, KeyError, TypeError):
        return float("inf")
