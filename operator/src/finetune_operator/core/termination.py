"""How a container ended: an exit code and a reason of contract/, and the line of the termination log."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum


class ExitCode(IntEnum):
    """The contract's exit codes that change what happens next."""

    DONE = 0
    CONFIGURATION = 2
    DATA = 3
    OUT_OF_MEMORY = 10
    COMMUNICATION = 11
    CHECKPOINT = 12
    STORAGE = 13
    KILLED = 137
    STOPPED = 143


FINAL = (ExitCode.CONFIGURATION, ExitCode.DATA)
"""A retry cannot help."""

# When one process of many fails, the others fail of it: a lost peer or the stop that follows is no cause.
_CONSEQUENCES = (ExitCode.COMMUNICATION, ExitCode.KILLED, ExitCode.STOPPED)

# The kubelet's words (pkg/kubelet/eviction/helpers.go) for what has nothing to do with the node.
_OWN_LIMIT = re.compile(r"exceeds the (total )?limit|exceeded its local ephemeral storage limit")

OUT_OF_HOST_MEMORY = "OutOfHostMemory"
"""The kubelet says OOMKilled."""

EVICTED = "Evicted"
"""The kubelet ended the pod, as its node had too little memory, disk or process ids."""

NOT_STARTED = "ProgramNotStarted"
"""The runtime says StartError or ContainerCannotRun."""

OTHER_CONTAINER_FAILED = "OtherContainerFailed"
"""A container that was injected, or that podOverrides adds, failed the pod."""

DEFAULT_REASONS = {
    ExitCode.CONFIGURATION: "ConfigurationInvalid",
    ExitCode.DATA: "DataInvalid",
    ExitCode.OUT_OF_MEMORY: "OutOfMemory",
    ExitCode.COMMUNICATION: "CommunicationFailed",
    ExitCode.CHECKPOINT: "CheckpointUnreadable",
    ExitCode.STORAGE: "StorageFailed",
    ExitCode.KILLED: "Killed",
    ExitCode.STOPPED: "Stopped",
}
"""What an exit code stands for, where no line says more; contract/reasons.json has all of them."""


@dataclass(frozen=True, kw_only=True)
class Termination:
    """The end of a container that failed."""

    exit_code: int
    reason: str
    message: str
    remedy: str = ""
    finished_at: datetime | None = None
    said_by_kubelet: bool = False
    """A cause, though the exit code is that of any kill."""
    ours: bool = True
    """Whether the exit code is one of the contract's."""

    @property
    def is_final(self) -> bool:
        """True when a retry cannot help."""
        return self.ours and self.exit_code in FINAL

    @property
    def sentence(self) -> str:
        """What is wrong and what to do, in one line."""
        return ". ".join(part.rstrip(".") for part in (self.message, self.remedy) if part)


def parse_termination(exit_code: int, log: str, finished_at: datetime | None = None) -> Termination:
    """Return how a container ended; a log that is not the contract's JSON line is the message itself."""
    default_reason = (
        DEFAULT_REASONS.get(ExitCode(exit_code), "Failed") if exit_code in set(ExitCode) else "Failed"
    )
    last = log.strip().splitlines()[-1] if log.strip() else ""
    try:
        line = json.loads(last)
    except ValueError:
        line = {"message": last}
    if not isinstance(line, dict):
        line = {"message": last}
    return Termination(
        exit_code=exit_code,
        reason=str(line.get("reason") or default_reason),
        message=str(line.get("message") or f"It ended with exit code {exit_code}"),
        remedy=str(line.get("remedy") or ""),
        finished_at=finished_at,
    )


def killed_for_memory(finished_at: datetime | None = None) -> Termination:
    """Return the end of a container that the kernel killed: it could write nothing itself."""
    return Termination(
        exit_code=ExitCode.KILLED,
        reason=OUT_OF_HOST_MEMORY,
        message="The kernel killed it (OOMKilled): it took more host memory than its limit, or its node, has",
        remedy="Raise the memory limit in podOverrides.resources, or take nodes with more; "
        "`finetune plan` says what is needed",
        finished_at=finished_at,
        said_by_kubelet=True,
    )


def evicted(message: str, finished_at: datetime | None = None) -> Termination:
    """Return the end of a pod whose node had too little of something, or that took more than it may."""
    of_its_own = _OWN_LIMIT.search(message)
    return Termination(
        exit_code=ExitCode.KILLED,
        reason=EVICTED,
        message=f"Its node evicted it: {message.strip() or 'it does not say what it had too little of'}",
        remedy="Raise that limit in podOverrides.resources, of an emptyDir its sizeLimit"
        if of_its_own
        else "Raise the requests in podOverrides.resources for what is named, "
        "so that it goes to nodes that have it",
        finished_at=finished_at,
        said_by_kubelet=True,
    )


def not_run(reason: str, message: str) -> Termination:
    """Return the end of a pod that its node did not take, or ended without a word of its containers."""
    return Termination(
        exit_code=ExitCode.KILLED,
        reason=reason,
        message=f"Its node says {reason}: {message.strip()}".rstrip(": "),
        remedy="It is tried again, maybe on another node; if the node is ill, cordon it",
        said_by_kubelet=True,
    )


def not_started(message: str, finished_at: datetime | None = None) -> Termination:
    """Return the end of a container whose program the runtime could not start."""
    last = message.strip().splitlines()[-1:]
    return Termination(
        exit_code=128,
        reason=NOT_STARTED,
        message=": ".join(("The runtime could not start its program", *last)),
        remedy="Its image has no such program, or is for other CPUs: correct the operator's images",
        finished_at=finished_at,
        said_by_kubelet=True,
        ours=False,
    )


def other_container_failed(name: str, exit_code: int, log: str, finished_at: datetime | None) -> Termination:
    """Return the end of a pod by a container of others: its exit code means what its makers say."""
    last = log.strip().splitlines()[-1:]
    said = f"exit code {exit_code}" + "".join(f": {line}" for line in last)
    return Termination(
        exit_code=exit_code,
        reason=OTHER_CONTAINER_FAILED,
        message=f"The container {name}, which is not the operator's, failed its pod with {said}",
        remedy="Mend it where it comes from: podOverrides, or the webhook that injects it",
        finished_at=finished_at,
        said_by_kubelet=True,
        ours=False,
    )


def cause_of(terminations: tuple[Termination, ...]) -> Termination | None:
    """Return the failure that brought the others about: what cannot be retried, then the first real one."""

    def order(t: Termination) -> tuple[bool, bool, float]:
        moment = t.finished_at.timestamp() if t.finished_at else float("inf")
        is_consequence = t.exit_code in _CONSEQUENCES and not t.said_by_kubelet
        return (not t.is_final, is_consequence, moment)

    return min(terminations, key=order, default=None)
