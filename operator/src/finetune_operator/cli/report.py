"""`finetune report`: where a run's page is, and runs compared in one page."""

import subprocess
from pathlib import Path

import click

from finetune_operator.cli.options import namespace_option, storage_option
from finetune_operator.client.storage_folder import StorageFolder
from finetune_operator.core.config import Config
from finetune_operator.local.environments import Environments
from finetune_operator.local.errors import LocalError
from finetune_operator.local.layout import Layout


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("comparison.html"),
    show_default=True,
    help="Where the page goes that compares several.",
)
@namespace_option
@storage_option
def report(runs: tuple[str, ...], output: Path, namespace: str, storage: Path) -> None:
    """Say where the report of a run is; of several RUNS, write a page that compares them.

    A run is the name of a job in the storage folder, or a run's own folder, as in a cluster's volume:
    curves on the same axes, figures, cost and answers beside each other, and the settings that differ.
    """
    place = StorageFolder(layout=Layout(storage=storage.absolute()), namespace=namespace)
    folders = [_folder(place, run) for run in runs]
    if len(folders) > 1:
        _compare(folders, output.absolute())
        click.echo(output)
        return
    page = folders[0] / "report.html"
    if not page.is_file():
        raise LocalError(f"{folders[0]} has no report.html", "it is there once the run has trained a step")
    click.echo(page)


def _folder(place: StorageFolder, run: str) -> Path:
    """Return the folder of a job's run. Raises LocalError for a job that has none yet."""
    if Path(run).is_dir():
        return Path(run).absolute()
    (job,) = place.find(run, kinds=("FineTuneJob",))
    if "run" not in job.get("status", {}):
        raise LocalError(f"FineTuneJob {run} has not started", f"see `finetune status {run}`")
    return Path(place.layout.storage, "runs", place.namespace, run, job["status"]["run"])


def _compare(folders: list[Path], output: Path) -> None:
    images = Config().images
    trainer = Environments.find(images).of(images.trainer)
    trainer.check()
    command = [trainer.resolve("python"), "-m", "finetune_trainer.report", "--output", str(output)]
    ended = subprocess.run([*command, *map(str, folders)], capture_output=True, text=True, check=False)
    if ended.returncode:
        problem = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
        raise LocalError(problem, "name jobs that have trained, or their runs' folders")
