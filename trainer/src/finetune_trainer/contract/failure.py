"""How a stage ends: an exit code of the contract, a reason, one line of what is wrong, one of what to do."""

import errno
import json
import os
import re
import socket
import sys
import time
import traceback
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError
from torch.distributed.elastic.rendezvous import RendezvousError

TERMINATION_LOG = "FINETUNE_TERMINATION_LOG"
DEFAULT_TERMINATION_LOG = "/dev/termination-log"
WORKER_ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
# The kubelet keeps 4096 bytes of a termination message.
LONGEST_MESSAGE = 3000


class Reason(StrEnum):
    RUN_FILE_INVALID = "RunFileInvalid"
    CONFIGURATION_INVALID = "ConfigurationInvalid"
    FLAVOR_INVALID = "FlavorInvalid"
    TARGETS_INVALID = "TargetsInvalid"
    OVERRIDE_INVALID = "OverrideInvalid"
    MACHINE_UNFIT = "MachineUnfit"
    LOSS_NOT_FINITE = "LossNotFinite"
    GRADIENTS_NOT_FINITE = "GradientsNotFinite"
    PARALLELISM_INVALID = "ParallelismInvalid"
    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_FORBIDDEN = "SourceForbidden"
    SOURCE_UNREACHABLE = "SourceUnreachable"
    SOURCE_CORRUPTED = "SourceCorrupted"
    DATASET_INVALID = "DatasetInvalid"
    ADAPTER_MISMATCH = "AdapterMismatch"
    BASE_INVALID = "BaseInvalid"
    BASE_INCOMPLETE = "BaseIncomplete"
    OUT_OF_MEMORY = "OutOfMemory"
    PEER_LOST = "PeerLost"
    CHECKPOINT_UNREADABLE = "CheckpointUnreadable"
    STORAGE_FULL = "StorageFull"
    STORAGE_FAILED = "StorageFailed"
    STOPPED = "Stopped"
    UNEXPECTED = "Unexpected"


class Failure(Exception):  # noqa: N818 - a stop on request is a failure of the stage, not an error
    """A stage's end with another exit code than 0 (contract/exit-codes.json).

    A subclass fixes the exit code and the reason and remedy of most of its cases.
    """

    exit_code: ClassVar[int] = 1
    default_reason: ClassVar[Reason] = Reason.UNEXPECTED
    default_remedy: ClassVar[str] = "This is a defect; report it with the log above"
    users: ClassVar[bool] = False
    """The cause is the user's or the volume's, so a traceback would only hide the message."""

    def __init__(self, message: str, reason: Reason | None = None, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.remedy = remedy or self.default_remedy

    def __str__(self) -> str:
        return f"{self.message.rstrip('.')}. {self.remedy.rstrip('.')}."


class ConfigurationError(Failure):
    exit_code = 2
    default_reason = Reason.CONFIGURATION_INVALID
    default_remedy = "Correct the FineTuneJob's spec and apply it under a new name"
    users = True


class DataError(Failure):
    exit_code = 3
    default_reason = Reason.DATASET_INVALID
    default_remedy = "Correct the data and apply the FineTuneJob under a new name"
    users = True


class OutOfMemory(Failure):
    exit_code = 10
    default_reason = Reason.OUT_OF_MEMORY
    default_remedy = (
        "Lower training.microBatchSize, set training.recompute to full, lower training.sequenceLength, or "
        "spread the model over more processes"
    )


class CommunicationError(Failure):
    exit_code = 11
    default_reason = Reason.PEER_LOST
    default_remedy = (
        "The next attempt resumes from the newest checkpoint; look at the other processes' logs, and at the "
        "node that is named"
    )


class CheckpointError(Failure):
    exit_code = 12
    default_reason = Reason.CHECKPOINT_UNREADABLE
    default_remedy = "Delete the checkpoint that is named, or apply the FineTuneJob under a new name"


class StorageError(Failure):
    exit_code = 13
    default_reason = Reason.STORAGE_FAILED
    default_remedy = "Check the volume; what was complete on it is untouched"
    users = True


class Stopped(Failure):
    exit_code = 143
    default_reason = Reason.STOPPED
    default_remedy = "The next attempt resumes from the newest checkpoint"
    users = True


def failure_of(error: BaseException) -> Failure:
    """The failure that an exception stands for, with it as the cause; a `Failure` is returned as it is."""
    if isinstance(error, Failure):
        return error
    failure = _classify(error)
    failure.__cause__ = error
    return failure


def _classify(error: BaseException) -> Failure:
    text = f"{type(error).__name__}: {error}".split("\n")[0]
    if isinstance(error, KeyboardInterrupt):
        return Stopped("interrupted")
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or _names(error, *_MEMORY_TEXTS):
        asked = text.split(". GPU ")[0].rstrip(".")  # torch's hints follow, which are not the user's to take
        return OutOfMemory(f"{process_name()}{asked}{memory_in_use()}")
    if isinstance(error, torch.distributed.DistError | RendezvousError | ConnectionError | TimeoutError):
        return CommunicationError(f"{process_name()}{text}")
    if _names(error, *_PEER_TEXTS):
        return CommunicationError(f"{process_name()}{text}")
    if isinstance(error, OSError) or (isinstance(error, SafetensorError) and _errno(error)):
        return storage_failure(error)
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return DataError(f"a file could not be read: {text}")
    return Failure(text)


def process_name() -> str:
    """ "rank 3 on HOST: " in a process of a training; nothing in others."""
    rank = os.environ.get("RANK")
    return f"rank {rank} on {socket.gethostname()}: " if rank else ""


def memory_in_use() -> str:
    """What this process has taken of the GPU's memory, for a message; nothing without a GPU."""
    if not (torch.cuda.is_available() and torch.cuda.is_initialized()):  # type: ignore[no-untyped-call]
        return ""
    figures = {
        "allocated": torch.cuda.memory_allocated(),
        "at the step's peak": torch.cuda.max_memory_allocated(),
        "reserved": torch.cuda.memory_reserved(),
        "in all": torch.cuda.get_device_properties().total_memory,
    }
    return f" ({', '.join(f'{size / 2**30:.1f} GiB {what}' for what, size in figures.items())})"


# The CPU allocator, CUDA outside the allocator and gloo raise a bare RuntimeError; only the text tells.
_MEMORY_TEXTS = ("out of memory", "can't allocate memory")
_PEER_TEXTS = ("gloo/transport", "Connection closed by peer", "Connection reset by peer")


def _names(error: BaseException, *texts: str) -> bool:
    return isinstance(error, RuntimeError) and any(text in str(error) for text in texts)


def storage_failure(error: OSError | SafetensorError, place: Path | None = None) -> Failure:
    """The failure of reading or writing a file of the volume, at `place` if the error does not say."""
    where = (error.filename if isinstance(error, OSError) else None) or place
    prefix = f"{where}: " if where else ""
    number = _errno(error)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"{prefix}no space left on the volume",
            Reason.STORAGE_FULL,
            remedy="Free space or enlarge the volume; the next attempt goes on from what is complete",
        )
    if number == errno.ENOMEM:
        return OutOfMemory(f"{prefix}the host ran out of memory")
    return StorageError(f"{prefix}{os.strerror(number) if number else error}")


def _errno(error: OSError | SafetensorError) -> int | None:
    """safetensors tells the number in its text only: "I/O error: ... (os error 28)", "Os { code: 28, ..."."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"(?:os error|code:) (\d+)", str(error))
    return int(found[1]) if found else None


def report(failure: Failure) -> None:
    """Write the failure to the termination log and to stderr.

    A worker under torchrun writes it to the error file that its agent gave it, and the agent reports the
    first worker's failure for all of them (train/agent.py).
    """
    if not failure.users:
        traceback.print_exception(failure.__cause__ or failure)
    if error_file := os.environ.get(WORKER_ERROR_FILE):
        Path(error_file).write_text(json.dumps(worker_record(failure)), encoding="utf-8")
        return
    print(f"error: {failure}", file=sys.stderr, flush=True)
    _write_termination_log(_content(failure))


def tell(result: dict[str, Any]) -> None:
    """Tell the operator what a stage found, as the termination log of a stage that ends with 0."""
    _write_termination_log(result)


def worker_record(failure: Failure) -> dict[str, Any]:
    """What a worker leaves for its agent: torchelastic's own fields, and the failure beside them."""
    message = {"message": failure.message, "extraInfo": {"timestamp": str(int(time.time()))}}
    return {**_content(failure), "exitCode": failure.exit_code, "time": time.time(), "message": message}


def failure_from_record(record: dict[str, Any]) -> Failure:
    """The inverse of `worker_record`."""
    kind = {kind.exit_code: kind for kind in Failure.__subclasses__()}.get(record["exitCode"], Failure)
    return kind(record["message"]["message"], Reason(record["reason"]), remedy=record["remedy"])


def _content(failure: Failure) -> dict[str, str]:
    return {
        "reason": failure.reason,
        "message": failure.message[:LONGEST_MESSAGE],
        "remedy": failure.remedy,
    }


def _write_termination_log(content: dict[str, Any]) -> None:
    path = Path(os.environ.get(TERMINATION_LOG, DEFAULT_TERMINATION_LOG))
    line = json.dumps(content)
    try:
        path.write_text(line + "\n", encoding="utf-8")
    except OSError:  # outside a pod there is none, and a full disk must not hide the message on stderr
        return
