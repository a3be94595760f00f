"""`finetune-convert`: merge, verify, evaluate, check, check-adapters, sign, push, from-dcp, debug-assets."""

import logging
import re
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from finetune_converter.debug_assets import write_debug_assets
from finetune_converter.failure import Failure, Reason, failure_of, report
from finetune_converter.merge.merge import Part, default_workers
from finetune_converter.merge.stage import merge_folders, merge_run
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.model_files.flavors import LAYERS

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
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
@click.option(
    "--shard",
    "part",
    metavar="I/N",
    callback=lambda _context, _option, value: _part(value),
    help="Write only the files of process I of N, from 0. A merge without --shard completes the folder.",
)
def merge(
    run_file: Path | None,
    root: Path | None,
    workers: int | None,
    dtype: str,
    part: Part | None,
    **folders: Any,
) -> None:
    """Merge base and adapter: either --run and --root, or --base, --adapter and --out."""
    if run_file and root:
        merge_run(run_file, root, part)
    else:
        _require(folders)
        merge_folders(**folders, dtype=Dtype(dtype), workers=workers or default_workers(), part=part)


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
@click.argument("folder", type=_FOLDER)
@click.option("--public-key", type=_FILE, help="In PEM: the folder must be signed with its private key.")
@click.option("--signed", is_flag=True, help="The same, with the public key that is in $MODEL_PUBLIC_KEY.")
def check(folder: Path, public_key: Path | None, signed: bool) -> None:
    """Check that a merged folder holds what its MANIFEST.json lists, byte for byte, and nothing else.

    It needs neither base nor adapter: for a model that was copied or pulled since it was verified.
    """
    from finetune_converter.signing.keys import public_key as read_public_key
    from finetune_converter.signing.keys import read_pem
    from finetune_converter.signing.model_signature import check_signature, key_of_the_server
    from finetune_converter.verify.listing import check_listing

    # The signature before the bytes are read: it costs nothing.
    if public_key:
        where = f"--public-key: {public_key}"
        check_signature(folder, read_public_key(read_pem(public_key, where), where))
    if signed:
        check_signature(folder, key_of_the_server())
    said = f", signed with the key of {public_key or '$MODEL_PUBLIC_KEY'}" if public_key or signed else ""
    click.echo(f"{folder}: its {check_listing(folder)} files are those of MANIFEST.json{said}")


@convert.command()
@click.argument("adapters", nargs=-1, required=True, type=_FOLDER)
def check_adapters(adapters: tuple[Path, ...]) -> None:
    """Check that vLLM applies all of these adapters, in PEFT format, where it serves them unmerged."""
    from finetune_converter.adapter.served import check_served

    for adapter in adapters:
        check_served(adapter)
        click.echo(f"{adapter}: is served as it was trained")


@convert.command()
@click.argument("folder", type=_FOLDER)
@click.option("--private-key", type=_FILE, required=True, help="In PEM, on P-256, P-384 or P-521.")
def sign(folder: Path, private_key: Path) -> None:
    """Sign a merged folder in OpenSSF Model Signing's format, once its files are those of MANIFEST.json."""
    from finetune_converter.signing.keys import private_key as read_private_key
    from finetune_converter.signing.keys import read_pem
    from finetune_converter.signing.model_signature import sign_folder
    from finetune_converter.verify.listing import check_listing

    where = f"--private-key: {private_key}"
    key = read_private_key(read_pem(private_key, where), where)
    check_listing(folder)
    click.echo(sign_folder(folder, key))


@convert.command()
@_run
@_root
@click.argument("server", nargs=-1, type=click.UNPROCESSED)
def evaluate(run_file: Path | None, root: Path | None, server: tuple[str, ...]) -> None:
    """Ask a run's base and merged model its evaluation's questions, and release what reaches its thresholds.

    What follows -- are arguments of vLLM's server, which has to be installed beside.
    """
    from finetune_converter.evaluate.stage import evaluate_run

    if not run_file or not root:
        raise Failure("--run or --root missing", Reason.SETTING_INVALID, "Give both")
    evaluate_run(run_file, root, server)


@convert.command()
@_run
@_root
@click.option("--model", type=_FOLDER, help="A merged model, with its MANIFEST.json.")
@click.option("--to", help="oci://host/repository:tag, s3://bucket/prefix or hf://owner/name.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["image", "modelpack"]),
    default="image",
    show_default=True,
    help="In a registry: an image, or an artifact of CNCF ModelPack's types.",
)
def push(run_file: Path | None, root: Path | None, model: Path | None, to: str | None, kind: str) -> None:
    """Send a merged model to a registry, a bucket or a hub.

    Either --run and --root, or --model and --to.
    """
    # The hub's client takes a while to import, and only this command needs it.
    from finetune_converter.push.push import OciFormat, push_model
    from finetune_converter.push.stage import push_run

    if run_file and root:
        push_run(run_file, root)
    elif model and to:
        click.echo(push_model(model, to, OciFormat(kind)))
    else:
        raise Failure("--model or --to missing", Reason.SETTING_INVALID, "Give both, or --run and --root")


@convert.command()
@click.option("--checkpoint", type=_FOLDER, required=True, help="A step folder of torchtitan's.")
@click.option(
    "--base",
    type=_FOLDER,
    required=True,
    help="Its base; or config.json and tokenizer alone: the weights are then the checkpoint's.",
)
@click.option(
    "--flavor", help=f"torchtitan's model_flavor, where --base is no such model: {', '.join(LAYERS)}."
)
@click.option("--out", type=_FOLDER, required=True, help="A new folder.")
@click.option("--alpha", type=click.FloatRange(0, min_open=True), help="LoRA's alpha, if it holds LoRA keys.")
@click.option("--merge", is_flag=True, help="Merge the LoRA keys into the base, and let the gate prove it.")
@_dtype
def from_dcp(checkpoint: Path, out: Path, merge: bool, dtype: str, **source: Any) -> None:
    """Write a torchtitan checkpoint as a Hugging Face model, or as a PEFT adapter where it has LoRA keys.

    With --merge, the LoRA keys are merged into the base instead, in --dtype, and the gate proves the result.
    """
    # torch takes seconds to import: only what computes waits for it.
    from finetune_converter.dcp.export import export_dcp
    from finetune_converter.dcp.merged import merge_dcp

    if merge:
        adapter = merge_dcp(checkpoint=checkpoint, out=out, dtype=Dtype(dtype), **source)
        click.echo(f"merged and verified: {out} (its adapter: {adapter})")
        return
    if Dtype(dtype) is not Dtype.BASE:
        raise Failure("--dtype is for --merge", Reason.SETTING_INVALID, "Leave it out, or give --merge too")
    kind = export_dcp(checkpoint=checkpoint, out=out, **source)
    click.echo(f"{kind}: {out}")


@convert.command()
@click.option("--from", "source", type=_FOLDER, required=True, help="The original model's assets.")
@click.option("--flavor", required=True, help=f"One of {', '.join(LAYERS)}.")
@click.option("--out", type=_FOLDER, required=True, help="A new folder.")
def debug_assets(source: Path, flavor: str, out: Path) -> None:
    """Make the Hugging Face assets of a debug flavour from those of the original."""
    for name in write_debug_assets(source, flavor, out):
        click.echo(out / name)


def _part(value: str | None) -> Part | None:
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", value or "0/1")
    if match is None or not int(match[1]) < int(match[2]):
        raise Failure(
            f"--shard: {value!r} is not I/N with I below N",
            Reason.SETTING_INVALID,
            "Give 0/4 to 3/4, for instance",
        )
    return Part(index=int(match[1]), count=int(match[2])) if value else None


def _require(folders: dict[str, Path | None]) -> None:
    missing = [f"--{name}" for name, folder in folders.items() if folder is None]
    if missing:
        raise Failure(
            f"{', '.join(missing)} missing",
            Reason.SETTING_INVALID,
            "Give --run and --root, or every folder",
        )


def _stop(_signal: int, _frame: object) -> NoReturn:
    raise Failure("stopped by SIGTERM", Reason.STOPPED, "Run the same command again: finished files are kept")


def main() -> None:
    """Run the command; a failure is one line, its termination message and its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # As process 1 of a container, Python ignores a SIGTERM that nobody handles.
    signal.signal(signal.SIGTERM, _stop)
    try:
        convert()
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        click.echo(report(failure), err=True)
        sys.exit(failure.exit_code)
