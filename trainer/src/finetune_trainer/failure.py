"""What ends a stage, each with the exit code of contract/exit-codes.json and one line for the user."""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any, ClassVar


class StageError(Exception):
    """A failure with its cause and its remedy: what the termination log and stderr say."""

    exit_code: ClassVar[int]

    def __init__(self, *, reason: str, message: str, remedy: str) -> None:
        super().__init__(f"{message}. {remedy}")
        self.reason = reason
        self.message = message
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        """Ranks tell each other their failures."""
        return _rebuild, (type(self), self.reason, self.message, self.remedy)


class ConfigurationError(StageError):
    """The job's specification is wrong."""

    exit_code = 2


class DataError(StageError):
    """The dataset or the base model is wrong."""

    exit_code = 3


class MemoryExhaustedError(StageError):
    """The GPU or the host ran out of memory."""

    exit_code = 10


class CommunicationError(StageError):
    """A peer could not be reached or a collective timed out."""

    exit_code = 11


class CheckpointError(StageError):
    """No checkpoint of the run could be read."""

    exit_code = 12


class StorageError(StageError):
    """The volume is full or failed to read or write."""

    exit_code = 13


def _rebuild(kind: type[StageError], reason: str, message: str, remedy: str) -> StageError:
    return kind(reason=reason, message=message, remedy=remedy)


def report(failure: StageError) -> None:
    """Tell the user on stderr, and the operator by the termination log; the first failure there stays."""
    print(f"error: {failure.message}. {failure.remedy}", file=sys.stderr, flush=True)
    log = Path(os.environ.get("FINETUNE_TERMINATION_LOG", "/dev/termination-log"))
    line = {"reason": failure.reason, "message": failure.message, "remedy": failure.remedy}
    with contextlib.suppress(OSError):
        if log.parent != Path("/dev") or (log.exists() and log.stat().st_size == 0):
            log.write_text(json.dumps(line) + "\n")
