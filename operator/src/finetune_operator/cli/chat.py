"""`finetune chat`: talks to the endpoint of a deployment."""

import sys

import click

from finetune_operator.cli.options import place_options
from finetune_operator.client.client import Client
from finetune_operator.client.conversation import Conversation

_ALL_THOUGHT = (
    "There is no answer: --max-tokens ended it amid the thought, or the model was tuned to give none and the "
    "server's --reasoning-parser takes the answer for one"
)


@click.command()
@click.argument("name")
@place_options
@click.option("-q", "--question", "questions", multiple=True, help="Ask this and end. May be repeated.")
@click.option("--system", help="A system message.")
@click.option("--max-tokens", type=click.IntRange(min=1), default=256, show_default=True)
@click.option("--temperature", type=click.FloatRange(min=0), default=0.0, show_default=True)
def chat(
    name: str,
    client: Client,
    questions: tuple[str, ...],
    system: str | None,
    max_tokens: int,
    temperature: float,
) -> None:
    """Chat with the ModelDeployment of that NAME. The answer is streamed to stdout; of a server with
    --reasoning-parser, thoughts to stderr.
    """
    options = {"max_tokens": max_tokens, "temperature": temperature}
    with client.conversation(name, system=system, **options) as conversation:
        if not questions:
            _talk(conversation)
        for question in questions:
            _ask(conversation, question)


def _talk(conversation: Conversation) -> None:
    """Ask what is typed, until the input ends."""
    prompt = "> " if sys.stdin.isatty() else ""
    while True:
        try:
            question = input(prompt)
        except (EOFError, KeyboardInterrupt):
            click.echo()
            return
        if question.strip():
            _ask(conversation, question)


def _ask(conversation: Conversation, question: str) -> None:
    """Print thoughts and answer as they come."""
    thinks, answers = False, False
    for piece in conversation.pieces(question):
        if thinks and not piece.is_thought:
            click.echo(err=True)
        thinks, answers = piece.is_thought, answers or not piece.is_thought
        click.secho(piece.text, nl=False, err=piece.is_thought, dim=piece.is_thought)
    if thinks and not answers:
        click.echo(f"\n{_ALL_THOUGHT}", err=True)
    click.echo()
