"""Manifests run by an engine of this machine, until they are done or somebody stops it."""

import os
import subprocess
from collections.abc import Sequence

import click

from finetune_operator.cli.display import Display, open_display
from finetune_operator.core.objects import Manifest
from finetune_operator.core.verdict import State, Verdict
from finetune_operator.local.engine import Engine
from finetune_operator.local.layout import Layout
from finetune_operator.local.lock import exclusive
from finetune_operator.local.runnable import Runnable
from finetune_operator.local.runner import Runner


def run_here(layout: Layout, manifests: Sequence[Manifest], command: tuple[str, ...] = ()) -> int:
    """Run manifests, and a command once everything is ready; return the exit code. Raises LocalError."""
    runnable = Runnable.of(layout, manifests)
    with exclusive(layout.lock), open_display() as display:
        engine = Engine(layout, runnable.environments, on_event=display.event)
        engine.apply(runnable.manifests)
        for warning in runnable.warnings:
            display.note(f"warning: {warning}")
        return _run(engine, display, command, layout)


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
