"""Failures a user can act on: a reason of `contract/reasons.json`, one line, remedy, and the exit code."""

import errno
import json
import os
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any


class ExitCode(IntEnum):
    DONE = 0
    CONFIGURATION = 2
    DATA = 3
    OUT_OF_MEMORY = 10
    COMMUNICATION = 11
    STORAGE = 13
    STOPPED = 143


class Reason(StrEnum):
    RUN_FILE_INVALID = "RunFileInvalid"
    SETTING_INVALID = "SettingInvalid"
    DTYPE_OVERFLOW = "DtypeOverflow"
    BASE_INCOMPLETE = "BaseIncomplete"
    BASE_INVALID = "BaseInvalid"
    ADAPTER_MISSING = "AdapterMissing"
    ADAPTER_INVALID = "AdapterInvalid"
    ADAPTER_MISMATCH = "AdapterMismatch"
    CHECKPOINT_INVALID = "CheckpointInvalid"
    MERGE_MISSING = "MergeMissing"
    VERIFICATION_FAILED = "VerificationFailed"
    EVALUATION_INVALID = "EvaluationInvalid"
    EVALUATION_FAILED = "EvaluationFailed"
    SERVER_FAILED = "ServerFailed"
    PUSH_FORBIDDEN = "PushForbidden"
    PUSH_FAILED = "PushFailed"
    STORAGE_FULL = "StorageFull"
    STORAGE_FAILED = "StorageFailed"
    OUT_OF_MEMORY = "OutOfMemory"
    STOPPED = "Stopped"


EXIT_CODES = {
    Reason.RUN_FILE_INVALID: ExitCode.CONFIGURATION,
    Reason.SETTING_INVALID: ExitCode.CONFIGURATION,
    Reason.DTYPE_OVERFLOW: ExitCode.CONFIGURATION,
    Reason.BASE_INCOMPLETE: ExitCode.DATA,
    Reason.BASE_INVALID: ExitCode.DATA,
    Reason.ADAPTER_MISSING: ExitCode.DATA,
    Reason.ADAPTER_INVALID: ExitCode.DATA,
    Reason.ADAPTER_MISMATCH: ExitCode.DATA,
    Reason.CHECKPOINT_INVALID: ExitCode.DATA,
    Reason.MERGE_MISSING: ExitCode.DATA,
    Reason.VERIFICATION_FAILED: ExitCode.DATA,
    Reason.EVALUATION_INVALID: ExitCode.DATA,
    Reason.EVALUATION_FAILED: ExitCode.DATA,
    Reason.SERVER_FAILED: ExitCode.COMMUNICATION,
    Reason.PUSH_FORBIDDEN: ExitCode.CONFIGURATION,
    Reason.PUSH_FAILED: ExitCode.COMMUNICATION,
    Reason.STORAGE_FULL: ExitCode.STORAGE,
    Reason.STORAGE_FAILED: ExitCode.STORAGE,
    Reason.OUT_OF_MEMORY: ExitCode.OUT_OF_MEMORY,
    Reason.STOPPED: ExitCode.STOPPED,
}


MAX_MESSAGE = 1600
"""Kubernetes keeps 4096 bytes of a termination message; a hostile file may have longer names."""


@dataclass(eq=False)
class Failure(Exception):  # noqa: N818 - the contract calls it a failure
    """Ends the command with one line and the reason's exit code."""

    message: str
    reason: Reason
    remedy: str

    def __post_init__(self) -> None:
        if len(self.message) > MAX_MESSAGE:
            half = MAX_MESSAGE // 2
            self.message = f"{self.message[:half]} ... {self.message[-half:]}"

    def __str__(self) -> str:
        return f"{_sentence(self.message)} {_sentence(self.remedy)}"

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.reason]


def failure_of(error: BaseException) -> Failure | None:
    """The failure an error of the system stands for; None for a fault of ours, which keeps its traceback."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, MemoryError):
        return Failure(
            "the host ran out of memory",
            Reason.OUT_OF_MEMORY,
            "Use fewer --workers or give the pod more memory",
        )
    if isinstance(error, OSError):
        return _storage_failure(error)
    return None


def _storage_failure(error: OSError) -> Failure:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure(
            f"{where}{error.strerror}",
            Reason.STORAGE_FULL,
            "Free space or enlarge the volume, then run the same command: finished shards are kept",
        )
    return Failure(
        f"{where}{error.strerror or error}",
        Reason.STORAGE_FAILED,
        "Check the volume and run the same command again",
    )


def report(failure: Failure) -> str:
    """Write the termination log (contract/README.md, "Failure"), and return the line for stderr."""
    tell({"reason": str(failure.reason), "message": failure.message, "remedy": failure.remedy})
    return f"error: {failure}"


def tell(line: dict[str, Any]) -> None:
    """Write the termination log: a failure, or what a stage tells at its end (contract/README.md)."""
    path = Path(os.environ.get("FINETUNE_TERMINATION_LOG", "/dev/termination-log"))
    try:
        if path.parent != Path("/dev") or path.exists():
            path.write_text(json.dumps(line) + "\n")
    except OSError:
        pass  # stderr still tells; a log that cannot be written must not hide the failure


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else text + "."
