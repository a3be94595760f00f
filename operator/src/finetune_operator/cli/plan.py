"""`finetune plan`: what manifests need, and whether they fit, without a cluster."""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.formats import EXPLANATIONS, QUANTITY_PATTERN
from finetune_operator.api.job import FineTuneJob
from finetune_operator.api.validation import load_manifests
from finetune_operator.cli.options import files_option, namespace_option
from finetune_operator.core.capacity.architecture import Weights
from finetune_operator.core.capacity.demand import Demand
from finetune_operator.core.capacity.serving_demands import serving_demands
from finetune_operator.core.capacity.serving_settings import Setting, serving_settings
from finetune_operator.core.conditions import Condition
from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest
from finetune_operator.core.outcome import exported_weights
from finetune_operator.finetune import fits as job_fits
from finetune_operator.serving import fits as serving_fits


def _quantity(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if re.match(QUANTITY_PATTERN, value) is None:
        raise click.BadParameter(f"{value!r} is no quantity; use {EXPLANATIONS[QUANTITY_PATTERN]}")
    return value


@click.command()
@files_option
@namespace_option
@click.option(
    "--gpu-memory",
    default=Config().gpu_memory,
    show_default=True,
    callback=_quantity,
    help="Memory of each GPU where a manifest does not say it in gpuMemory.",
)
def plan(files: tuple[Path, ...], namespace: str, gpu_memory: str) -> None:
    """Print what manifests need of GPUs, hosts and volumes, and what to change where they do not fit.

    The exit code is 2 when something does not fit. A deployment of a job is judged when the job is in the
    files too.
    """
    manifests, config = load_manifests(files, namespace), Config(gpu_memory=gpu_memory)
    jobs = [FineTuneJob.model_validate(m) for m in manifests if m["kind"] == "FineTuneJob"]
    console = Console(highlight=False, soft_wrap=True)
    statuses = []
    for manifest in manifests:
        demands, fits = _judged(manifest, jobs, config)
        _print(console, manifest, demands, fits, _settings(manifest, jobs, config))
        statuses.append(fits.status)
    sys.exit(2 if "False" in statuses else 0)


def _judged(
    manifest: Manifest, jobs: Sequence[FineTuneJob], config: Config
) -> tuple[tuple[Demand, ...], Condition]:
    """Return what an object needs, and its Fits condition."""
    if manifest["kind"] == "FineTuneJob":
        job = FineTuneJob.model_validate(manifest)
        return job_fits.demands_of(job.spec, config), job_fits.fits_of(job, config)
    deployment = ModelDeployment.model_validate(manifest)
    weights = _weights(deployment, jobs)
    return (
        serving_demands(deployment.spec, weights, config),
        serving_fits.fits_of(deployment, weights, config),
    )


def _settings(manifest: Manifest, jobs: Sequence[FineTuneJob], config: Config) -> tuple[Setting, ...]:
    """Return how a server is run; none for a job."""
    if manifest["kind"] == "FineTuneJob":
        return ()
    deployment = ModelDeployment.model_validate(manifest)
    return serving_settings(deployment.spec, _weights(deployment, jobs), config)


def _weights(deployment: ModelDeployment, jobs: Sequence[FineTuneJob]) -> Weights | None:
    """Return the weights of the job that a deployment names, when it is there."""
    ref = deployment.spec.model.fine_tune_job_ref
    wanted = (deployment.metadata.namespace, ref.name if ref else None)
    named = (job for job in jobs if (job.metadata.namespace, job.metadata.name) == wanted)
    return next((exported_weights(job.spec) for job in named), None)


def _print(
    console: Console,
    manifest: Manifest,
    demands: Sequence[Demand],
    fits: Condition,
    settings: Sequence[Setting],
) -> None:
    metadata = manifest["metadata"]
    console.print(f"{manifest['kind']} {metadata['namespace']}/{metadata['name']}", markup=False)
    if demands:
        console.print(demands_table(demands))
    answer = {"True": "It fits.", "False": f"It does not fit. {fits.message}.", "Unknown": f"{fits.message}."}
    console.print(answer[fits.status], markup=False)
    for setting in settings:
        console.print(f"{setting.name}: {setting.value} ({setting.why})", markup=False)
    console.print()


def demands_table(demands: Iterable[Demand]) -> Table:
    """Return one row per demand, and below it one per part."""
    table = Table(box=None, pad_edge=False)
    table.add_column("WHAT")
    table.add_column("NEEDS", justify="right")
    table.add_column("OF", justify="right")
    table.add_column("WHERE")
    for demand in demands:
        there = "" if demand.available is None else demand.amount(demand.available)
        table.add_row(demand.subject, demand.amount(demand.needed), there, demand.place)
        for part, size in demand.parts.items():
            table.add_row(f"  {part}", demand.amount(size), "", "", style="dim")
    return table
