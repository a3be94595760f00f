"""`finetune watch`: the display of `finetune run`, of what runs elsewhere."""

import sys
import time

import click

from finetune_operator.cli.display import Display, open_display
from finetune_operator.cli.options import place_options
from finetune_operator.client.client import Client
from finetune_operator.client.place import Place
from finetune_operator.core.objects import Ref
from finetune_operator.core.verdict import State, Verdict, verdict_of

_PERIOD_SECONDS = 2.0


@click.command()
@click.argument("name")
@place_options
def watch(name: str, client: Client) -> None:
    """Show how the job and the deployment of that NAME get on, until they are done.

    The exit code is 0 when the job is complete and the deployment available, and 1 when one has failed.
    """
    with open_display() as display:
        try:
            verdict = _watch(client.place, name, display)
        except KeyboardInterrupt:
            sys.exit(130)
        if verdict.state is State.FAILED:
            assert verdict.parent is not None
            display.error(f"error: {verdict.parent['kind']} {name}: {verdict.message}")
            sys.exit(1)


def _watch(place: Place, name: str, display: Display) -> Verdict:
    told: set[str] = set()
    while True:
        parents = place.find(name)
        for parent in parents:
            for uid, event in place.events(parent):
                if uid not in told:
                    told.add(uid)
                    display.event(Ref.of(parent), event)
        display.show(parents)
        verdict = verdict_of(parents)
        if verdict.state is not State.GOING_ON:
            return verdict
        time.sleep(_PERIOD_SECONDS)
