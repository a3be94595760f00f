"""A task of lm-eval, read and checked before anything is trained: its YAML, and its data in the volume.

lm-eval itself, which is in the server's image alone, gets a plain dictionary. Its YAML may name Python code
(`!function`), builders of datasets that read pickles, and files anywhere: none of these are taken.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from finetune_trainer.contract.failure import DataError
from finetune_trainer.contract.run_data import DataSource, LmEval
from finetune_trainer.data.fields import described
from finetune_trainer.prepare.checksum import sha256
from finetune_trainer.prepare.fetch import fetch
from finetune_trainer.prepare.lock import exclusive
from finetune_trainer.prepare.remote import remote_folder

Config = dict[str, Any]

_DATA = (".parquet", ".json", ".jsonl", ".csv", ".tsv", ".arrow", ".txt", ".gz", ".zst")
_DESCRIBED = (*_DATA, ".yaml", ".yml", ".md")  # a dataset's README.md says which files are of which subset
_BUILDERS = ("json", "csv", "parquet", "arrow", "text")
# Fields of lm-eval's TaskConfig (0.4.13) that are data; the others name code, or what is not in the volume.
_FIELDS = frozenset(
    (
        *("task", "task_alias", "tag", "metadata", "dataset_path", "dataset_name", "dataset_kwargs"),
        *("training_split", "validation_split", "test_split", "fewshot_split", "fewshot_config"),
        *("doc_to_text", "doc_to_target", "doc_to_choice", "description", "gen_prefix"),
        *("target_delimiter", "fewshot_delimiter", "num_fewshot", "repeats", "output_type"),
        *("metric_list", "generation_kwargs", "filter_list"),
        *("should_decontaminate", "doc_to_decontamination_query"),
    )
)
# What lm-eval computes where a task has no metric_list.
_METRICS_OF: Mapping[str, tuple[str, ...]] = {
    "multiple_choice": ("acc", "acc_norm"),
    "loglikelihood": ("perplexity", "acc"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
    "generate_until": ("exact_match",),
}


def lm_eval_question(asked: LmEval, source: DataSource, root: Path, field: str) -> Config:
    """What the evaluate stage gives to lm-eval. Raises DataError naming the file, and what is wrong.

    `task` is the task's own configuration, or the name of one of lm-eval's; `data` the folder of its data.
    """
    folder = _folder(source, root, field)
    file, own = _own_task(folder, asked.task)
    data = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix in _DATA]
    if own is not None:
        _check(file, own, asked, folder)
    if not data:
        raise DataError(
            f"{folder}: there are no data of the task", remedy=f"Put {', '.join(_DATA)} files there"
        )
    return {
        "at": str(file.relative_to(root)),
        "task": asked.task if own is None else own,
        "data": str(folder.relative_to(root)),
        "files": {str(path.relative_to(folder)): sha256(path) for path in data},
    }


def _folder(source: DataSource, root: Path, field: str) -> Path:
    """The folder in the volume; of a remote source all of its data are fetched: lm-eval chooses the split."""
    folder = root / source.path
    if remote := remote_folder(source.uri, source.revision, f"{field}.uri", "dataset"):
        listing = remote.list_files()
        with exclusive(folder):
            fetch(remote, listing, [f for f in listing.files if Path(f.name).suffix in _DESCRIBED], folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder", remedy="Put the task's data there, or correct its uri")
    return folder


def _own_task(folder: Path, name: str) -> tuple[Path, Config | None]:
    """The task's YAML below a folder, and what it says; None where none has its name."""
    for file in sorted(folder.rglob("*.yaml")):
        config = _read(file, folder)
        if config.get("task") == name or config.get("group") == name:
            return file, config
    return folder, None


def _read(file: Path, folder: Path, including: tuple[Path, ...] = ()) -> Config:
    """A YAML with what it includes, of the same folder. Code is refused, whichever task names it."""
    file = file.resolve()
    if file in including or not file.is_relative_to(folder.resolve()):
        raise DataError(
            f"{file}: is included by {including[-1]}", remedy="Include files of the task's own folder, once"
        )
    try:
        config = yaml.load(file.read_text(encoding="utf-8"), Loader=_TaskLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: is no YAML: {' '.join(str(error).split())}", remedy="Correct it") from error
    except _CodeError as error:
        raise DataError(
            f"{file}: !function {error} is Python code, which is not run",
            remedy="Write it as a template of Jinja, or take one of lm-eval's own tasks",
        ) from error
    if not isinstance(config, dict):
        raise DataError(f"{file}: is {described(config)}, not a task", remedy="Correct or remove it")
    merged: Config = {}
    for path in _listed(config.pop("include", [])):
        merged |= _read(file.parent / str(path), folder, (*including, file))
    return merged | config


class _CodeError(Exception):
    """The name of a function."""


class _TaskLoader(yaml.SafeLoader):
    """Plain YAML."""


def _refuse_code(_loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    raise _CodeError(str(node.value))


_TaskLoader.add_constructor("!function", _refuse_code)


def _check(file: Path, config: Config, asked: LmEval, folder: Path) -> None:
    for key in config:
        if key not in _FIELDS:
            raise DataError(
                f"{file}: {key}: is not taken: it is code, or no field of a task's", remedy=_REMEDY
            )
    builder = config.get("dataset_path")
    if builder in _BUILDERS:
        _check_files(file, config, folder)
    elif config.get("dataset_kwargs"):
        raise DataError(
            f"{file}: dataset_kwargs: is for dataset_path {', '.join(_BUILDERS)}, not for {builder}",
            remedy=_REMEDY,
        )
    metrics = _metrics(file, config)
    name = asked.metric.partition(",")[0]
    if name not in metrics:
        raise DataError(
            f"{file}: the task has no metric {name}; it has {', '.join(metrics)}",
            remedy="Correct lmEval.metric, or metric_list",
        )


_REMEDY = "Remove it, or take one of lm-eval's own tasks"


def _check_files(file: Path, config: Config, folder: Path) -> None:
    """Raises DataError for data that are not there, or not in the task's folder."""
    given = config.get("dataset_kwargs") or {}
    if not isinstance(given, dict) or given.keys() != {"data_files"}:
        raise DataError(f"{file}: dataset_kwargs: data_files alone are taken", remedy=_REMEDY)
    files = given["data_files"]
    for name in [
        n for each in (files.values() if isinstance(files, dict) else [files]) for n in _listed(each)
    ]:
        place = (folder / str(name)).resolve()
        if not place.is_relative_to(folder.resolve()) or not place.is_file():
            raise DataError(
                f"{file}: dataset_kwargs.data_files: {folder / str(name)}: no such file of the task's folder",
                remedy=f"Put it there, or write its path relative to {folder}",
            )


def _metrics(file: Path, config: Config) -> tuple[str, ...]:
    listed = config.get("metric_list")
    if listed is None:
        return _METRICS_OF.get(config.get("output_type", "generate_until"), ())
    names = []
    for each in _listed(listed):
        if not isinstance(each, dict) or not isinstance(each.get("metric"), str) or each.get("hf_evaluate"):
            raise DataError(
                f"{file}: metric_list: {each}: not one of lm-eval's own metrics",
                remedy="Name one, without hf_evaluate",
            )
        names.append(each["metric"])
    return tuple(names)


def _listed(value: Any) -> Iterator[Any]:
    yield from value if isinstance(value, list) else [value]
