"""`finetune import`: a FineTuneJob from torchtitan's own configuration."""

import sys
from pathlib import Path
from typing import Any

import click
import yaml

from finetune_operator.local.errors import LocalError
from finetune_operator.torchtitan.config_file import ConfigFileError, read_config_file
from finetune_operator.torchtitan.job import Choices, Imported, NotImportedError, job_of


@click.command(name="import")
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A new file. Default: standard output.")
@click.option("--name", help="The job's name. Default: like the file's.")
@click.option("--model", metavar="URI", help="The base: hf://ORG/NAME, or a path in the volume.")
@click.option("--dataset", metavar="URI", help="The data: hf://ORG/NAME, s3://..., or a path in the volume.")
@click.option("--flavor", help="Where torchtitan's has no counterpart.")
@click.option("--claim", help="The volume's claim.")
@click.option("--nodes", type=click.IntRange(1), help="torchrun's --nnodes.")
@click.option("--gpus-per-node", type=click.IntRange(1), help="torchrun's --nproc_per_node.")
@click.option("--rank", type=click.IntRange(1), help="LoRA's rank, where the file has none.")
@click.option(
    "--alpha", type=click.FloatRange(0, min_open=True), help="LoRA's alpha, where the file has none."
)
def import_config(config: Path, output: Path | None, **choices: Any) -> None:
    """Write the FineTuneJob of a torchtitan CONFIG: TOML of 0.2, or the JSON of 0.3's debug.save_config_file.

    Comments above it name everything that has no counterpart, and every value that is not the file's.
    """
    try:
        keys, spelled = read_config_file(config)
        imported = job_of(keys, spelled, config.stem, Choices(**choices))
    except ConfigFileError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except NotImportedError as refused:
        for line in refused.errors:
            click.echo(f"error: {config}: {line}", err=True)
        sys.exit(2)
    text = manifest_text(imported, config.name)
    if output is None:
        click.echo(text, nl=False)
        return
    if output.exists():
        raise LocalError(f"--output: {output} is there already", "give a new file")
    output.write_text(text, encoding="utf-8")
    for note in imported.notes:
        click.echo(note, err=True)


def manifest_text(imported: Imported, source: str) -> str:
    """Return the manifest in YAML, under its notes as comments."""
    lines = [f"From torchtitan's {source}, by finetune import.", *imported.notes]
    comments = "".join(f"# {' '.join(line.split())}\n" for line in lines)
    return comments + yaml.safe_dump(imported.manifest, sort_keys=False, width=110)
