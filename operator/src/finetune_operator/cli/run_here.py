"""Manifests run by an engine of this machine, until they are done or somebody stops it."""

import os
import subprocess
from collections.abc import Sequence

import click

from finetune_operator.cli.display import Display, open_display
from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest
from finetune_operator.core.verdict import State, Verdict
from finetune_operator.local.capacity import check_capacity
from finetune_operator.local.changed_data import changed_data_notice
from finetune_operator.local.cluster_only import without_what_only_clusters_have
from finetune_operator.local.engine import Engine
from finetune_operator.local.environments import Environments
from finetune_operator.local.layout import Layout
from finetune_operator.local.lock import exclusive
from finetune_operator.local.runner import Runner


def run_here(layout: Layout, manifests: Sequence[Manifest], command: tuple[str, ...] = ()) -> int:
    """Run manifests, and a command once everything is ready; return the exit code. Raises LocalError."""
    check_capacity(manifests)
    runnable = [without_what_only_clusters_have(manifest) for manifest in manifests]
    manifests = [manifest for manifest, _ in runnable]
    environments = Environments.find(Config().images)
    environments.check(manifests)
    with exclusive(layout.lock), open_display() as display:
        engine = Engine(layout, environments, on_event=display.event)
        engine.apply(manifests)
        for field in (field for _, left_out in runnable for field in left_out):
            display.note(f"warning: {field} is for clusters, and left out on one machine.")
        _note_changed_data(display, layout, manifests)
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


def _note_changed_data(display: Display, layout: Layout, manifests: Sequence[Manifest]) -> None:
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
