"""`finetune logs`: what the pods of an object have written."""

import time
from collections.abc import Iterator

import click

from finetune_operator.cli.options import place_options
from finetune_operator.cli.place import ContainerLog, Place
from finetune_operator.core.objects import Manifest
from finetune_operator.core.verdict import State, verdict_of
from finetune_operator.finetune.stages import Stage
from finetune_operator.local.errors import LocalError
from finetune_operator.serving.children.names import COMPONENT as SERVE

_PERIOD_SECONDS = 1.0


@click.command()
@click.argument("name")
@click.option(
    "--stage", type=click.Choice([*map(str, Stage), SERVE]), help="Of one stage alone, or of the server."
)
@click.option(
    "--tail", type=click.IntRange(min=1), help="So many last lines of each container. Default: all of them."
)
@click.option("-f", "--follow", is_flag=True, help="Go on until a job is done, or Ctrl-C.")
@place_options
def logs(name: str, stage: str | None, tail: int | None, follow: bool, place: Place) -> None:
    """Print what the pods of the job and the deployment of that NAME have written, each line with its pod."""
    positions: dict[tuple[str, str], str] = {}
    while True:
        parents = place.find(name)
        goes_on = follow and _goes_on(parents, stage)
        for log in _logs(place, parents, stage):
            key = log.pod, log.container
            lines, positions[key] = log.read(positions.get(key, ""), None if key in positions else tail)
            for line in lines:
                click.echo(f"{log.pod} {log.container}: {line}")
        if not goes_on:
            break
        time.sleep(_PERIOD_SECONDS)
    if not any(positions.values()):
        raise LocalError(f"no pod of {name} that is still there has written anything", _look_at(name))


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


def _look_at(name: str) -> str:
    return f"`finetune status {name}` says what it waits for or came to"
