"""`finetune run`: the local engine."""

import os
import subprocess
import sys
from pathlib import Path

import click

from finetune_operator.api.validation import load_manifests
from finetune_operator.cli.display import Display, open_display
from finetune_operator.cli.options import files_option, namespace_option, storage_option
from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest
from finetune_operator.core.verdict import State, Verdict
from finetune_operator.local.capacity import check_capacity
from finetune_operator.local.changed_data import changed_data_notice
from finetune_operator.local.engine import Engine
from finetune_operator.local.environments import Environments
from finetune_operator.local.layout import Layout
from finetune_operator.local.lock import exclusive
from finetune_operator.local.runner import Runner


@click.command()
@files_option
@namespace_option
@storage_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def run(files: tuple[Path, ...], namespace: str, storage: Path, command: tuple[str, ...]) -> None:
    """Run manifests on this machine, each stage as a process.

    Jobs run to their end; deployments serve until Ctrl-C. What was stopped goes on where it was when it is
    run again. With a COMMAND after `--`, that is run once everything is ready; then everything is stopped,
    and the command's exit code is the result:

        finetune run -f job.yaml -- finetune chat faq --question "How do I suspend a job?"
    """
    manifests = load_manifests(files, namespace)
    check_capacity(manifests)
    layout = Layout(storage=storage.absolute())
    environments = Environments.find(Config().images)
    environments.check(manifests)
    with exclusive(layout.lock), open_display() as display:
        engine = Engine(layout, environments, on_event=display.event)
        engine.apply(manifests)
        _note_changed_data(display, layout, manifests)
        code = _run(engine, display, command, layout)
    sys.exit(code)


def _run(engine: Engine, display: Display, command: tuple[str, ...], layout: Layout) -> int:
    runner = Runner(engine, display.show)
    with runner.signals():
        try:
            code = _exit_code(engine, runner, display, command, layout)
        finally:
            runner.shut_down()
        if code == 128 + (runner.signal or 0):
            display.note("Stopped. Run it again to go on from here.")
        return code


def _note_changed_data(display: Display, layout: Layout, manifests: list[Manifest]) -> None:
    for manifest in manifests:
        if manifest["kind"] == "FineTuneJob" and (notice := changed_data_notice(layout.storage, manifest)):
            display.note(f"warning: {notice}.")


def _exit_code(
    engine: Engine, runner: Runner, display: Display, command: tuple[str, ...], layout: Layout
) -> int:
    verdict = runner.until_settled()
    if verdict.state is State.READY and command:
        display.pause()
        env = {**os.environ, "FINETUNE_STORAGE": str(layout.storage)}
        return runner.while_running(_start(command, env))
    if verdict.state is State.READY and any(p["kind"] == "ModelDeployment" for p in engine.parents):
        display.note(_how_to_ask(engine.parents))
        verdict = runner.for_ever()
    if verdict.state is State.FAILED:
        return _failure(engine, display, verdict)
    if verdict.state is State.GOING_ON and runner.signal is not None:
        return 128 + runner.signal
    return 0


def _start(command: tuple[str, ...], env: dict[str, str]) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(command, env=env)
    except OSError as error:
        raise click.ClickException(f"{command[0]} cannot be started: {error.strerror}") from None


def _failure(engine: Engine, display: Display, verdict: Verdict) -> int:
    assert verdict.parent is not None
    kind, name = verdict.parent["kind"], verdict.parent["metadata"]["name"]
    display.error(f"error: {kind} {name}: {verdict.message}")
    pod = engine.failed_pod_of(verdict.parent)
    if pod is None:
        return 1
    display.error(f"log: {pod.log}")
    return pod.exit_code


def _how_to_ask(parents: list[Manifest]) -> str:
    names = [p["metadata"]["name"] for p in parents if p["kind"] == "ModelDeployment"]
    return f"Ready. Ask with `finetune chat {names[0]}`; Ctrl-C stops."
