"""`finetune-convert`: merge, verify, debug-assets."""

import logging
import sys
from pathlib import Path
from typing import Any

import click

from finetune_converter.debug_assets import LAYERS, write_debug_assets
from finetune_converter.failure import Failure, Reason, failure_of, report
from finetune_converter.merge.dtypes import Dtype
from finetune_converter.merge.merge import default_workers
from finetune_converter.merge.stage import merge_folders, merge_run

_FOLDER = click.Path(file_okay=False, path_type=Path)
_run = click.option("--run", "run_file", type=click.Path(dir_okay=False, path_type=Path), help="A run file.")
_root = click.option("--root", type=_FOLDER, help="Where the run's volume is mounted.")
_base = click.option("--base", type=_FOLDER, help="The base model.")
_adapter = click.option("--adapter", type=_FOLDER, help="The adapter, in PEFT format.")
_dtype = click.option(
    "--dtype",
    type=click.Choice([dtype.value for dtype in Dtype]),
    default=Dtype.BASE.value,
    show_default=True,
    help="Of the weights.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="finetune-converter")
def convert() -> None:
    """Merge LoRA adapters into Hugging Face safetensors, and prove the result."""


@convert.command()
@_run
@_root
@_base
@_adapter
@click.option("--out", type=_FOLDER, help="The merged model: a new folder.")
@_dtype
@click.option("--workers", type=click.IntRange(1), help="Files side by side. Default: one a core.")
def merge(run_file: Path | None, root: Path | None, workers: int | None, dtype: str, **folders: Any) -> None:
    """Merge base and adapter: either --run and --root, or --base, --adapter and --out."""
    if run_file and root:
        merge_run(run_file, root)
    else:
        _require(folders)
        merge_folders(**folders, dtype=Dtype(dtype), workers=workers or default_workers())


@convert.command()
@_run
@_root
@_base
@_adapter
@click.option("--merged", type=_FOLDER, help="The merged model.")
@_dtype
def verify(run_file: Path | None, root: Path | None, dtype: str, **folders: Any) -> None:
    """Prove that a merged model is base + adapter: either --run and --root, or the three folders."""
    # transformers takes seconds to import, and only this command needs it.
    from finetune_converter.verify.stage import verify_folders, verify_run

    if run_file and root:
        verify_run(run_file, root)
    else:
        _require(folders)
        click.echo(verify_folders(**folders, dtype=Dtype(dtype)))


@convert.command()
@click.option("--from", "source", type=_FOLDER, required=True, help="The original model's assets.")
@click.option("--flavor", required=True, help=f"One of {', '.join(LAYERS)}.")
@click.option("--out", type=_FOLDER, required=True, help="A new folder.")
def debug_assets(source: Path, flavor: str, out: Path) -> None:
    """Make the Hugging Face assets of a debug flavour from those of the original."""
    for name in write_debug_assets(source, flavor, out):
        click.echo(out / name)


def _require(folders: dict[str, Path | None]) -> None:
    missing = [f"--{name}" for name, folder in folders.items() if folder is None]
    if missing:
        raise Failure(
            Reason.SETTING_INVALID,
            f"{', '.join(missing)} missing",
            "Give --run and --root, or every folder",
        )


def main() -> None:
    """Run the command; a failure is one line, its termination message and its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        convert()
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        click.echo(report(failure), err=True)
        sys.exit(failure.exit_code)
