"""`finetune bench`: how fast a deployment answers."""

import asyncio
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.table import Table

from finetune_operator.cli.load import Load
from finetune_operator.cli.load_figures import Figures, Percentiles
from finetune_operator.cli.options import place_options
from finetune_operator.client.client import Client

_FEWEST_REQUESTS = 32
_ROUNDS = 4
# Of the table, whatever the terminal's is: its lines are read as they are.
_WIDTH = 132
_POSITIVE = click.IntRange(min=1)


@click.command()
@click.argument("name")
@place_options
@click.option("--url", help="Ask this server, of the model NAME, instead of a deployment's.")
@click.option(
    "--concurrency",
    "concurrencies",
    multiple=True,
    type=_POSITIVE,
    default=(4, 64),
    show_default=True,
    help="Chats at a time. May be repeated.",
)
@click.option(
    "--requests",
    type=_POSITIVE,
    help=f"Chats in all. Default: {_ROUNDS} each, and at least {_FEWEST_REQUESTS}.",
)
@click.option("--input-tokens", type=_POSITIVE, default=512, show_default=True, help="Of each chat.")
@click.option("--output-tokens", type=_POSITIVE, default=128, show_default=True, help="Of each answer.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def bench(
    name: str,
    client: Client | None,
    url: str | None,
    concurrencies: tuple[int, ...],
    requests: int | None,
    input_tokens: int,
    output_tokens: int,
    output: str,
) -> None:
    """Load the ModelDeployment of that NAME with chats of random words, and print how fast it answers.

    Requests, tokens and their times are counted as `vllm bench serve` does: the time to the first token
    (TTFT), per output token after it (TPOT), and between two pieces of an answer (ITL).
    """
    with _endpoint(name, client, url) as (base, model):
        load = Load(
            url=base.rstrip("/"),
            model=model,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            key=os.environ.get("VLLM_API_KEY"),
        )
        figures = [
            asyncio.run(load.run(concurrency, requests or max(_FEWEST_REQUESTS, _ROUNDS * concurrency)))
            for concurrency in concurrencies
        ]
    if output == "json":
        click.echo(json.dumps([each.to_dict() for each in figures], indent=1))
    else:
        Console(highlight=False, width=_WIDTH).print(load_table(figures))


@contextmanager
def _endpoint(name: str, client: Client | None, url: str | None) -> Iterator[tuple[str, str]]:
    """Yield a base URL, and the model's name there."""
    if client is None:
        assert url is not None  # it alone leaves the client out
        yield url, name
        return
    (deployment,) = client.place.find(name, ("ModelDeployment",))
    with client.place.endpoint(deployment) as base:
        yield base, deployment["spec"].get("servedModelName") or name


def load_table(figures: Iterable[Figures]) -> Table:
    """Return a row for each load."""
    table = Table(box=None, pad_edge=False)
    columns = ("CONCURRENT", "REQUESTS", "FAILED", "REQUESTS/S", "TOKENS IN/S", "TOKENS OUT/S")
    for column in (*columns, *(f"{time} ms p50/p90/p99" for time in ("TTFT", "TPOT", "ITL"))):
        table.add_column(column, justify="right")
    for each in figures:
        rates = (each.requests_per_second, each.input_tokens_per_second, each.output_tokens_per_second)
        table.add_row(
            *(str(count) for count in (each.concurrency, each.requests, each.failed)),
            *(f"{rate:,.1f}" for rate in rates),
            *(_times(times) for times in (each.ttft, each.tpot, each.itl)),
        )
    return table


def _times(times: Percentiles | None) -> str:
    return f"{times.p50:.1f}/{times.p90:.1f}/{times.p99:.1f}" if times else ""
