"""What the pods of an object have written, and go on writing."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from finetune_operator.client.place import ContainerLog, Place
from finetune_operator.core.objects import Manifest
from finetune_operator.core.verdict import State, verdict_of
from finetune_operator.finetune.stages import Stage
from finetune_operator.local.errors import LocalError
from finetune_operator.serving.children.names import SERVE

STAGES = (*map(str, Stage), SERVE)
_PERIOD_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """A line, and who wrote it."""

    pod: str
    container: str
    text: str

    def __str__(self) -> str:
        return f"{self.pod} {self.container}: {self.text}"


def log_lines(
    place: Place, name: str, *, stage: str | None, tail: int | None, follow: bool
) -> Iterator[LogLine]:
    """Yield lines, oldest pod first. Raises LocalError when no pod has written any."""
    positions: dict[tuple[str, str], str] = {}
    while True:
        parents = place.find(name)
        goes_on = follow and _goes_on(parents, stage)
        for log in _logs(place, parents, stage):
            key = log.pod, log.container
            lines, positions[key] = log.read(positions.get(key, ""), None if key in positions else tail)
            for line in lines:
                yield LogLine(pod=log.pod, container=log.container, text=line)
        if not goes_on:
            break
        time.sleep(_PERIOD_SECONDS)
    if not any(positions.values()):
        raise LocalError(
            f"no pod of {name} that is still there has written anything",
            f"`finetune status {name}` says what it waits for or came to",
        )


def _logs(place: Place, parents: list[Manifest], stage: str | None) -> Iterator[ContainerLog]:
    for parent in parents:
        yield from (log for log in place.logs(parent) if stage in (None, log.stage))


def _goes_on(parents: list[Manifest], stage: str | None) -> bool:
    """Return whether more may be written: by a server for ever, by a job until its end."""
    kinds = {parent["kind"] for parent in parents}
    if "ModelDeployment" in kinds and stage in (None, SERVE):
        return True
    jobs = [parent for parent in parents if parent["kind"] == "FineTuneJob"]
    return verdict_of(jobs).state is State.GOING_ON
