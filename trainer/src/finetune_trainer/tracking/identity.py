"""By what trackers know a run again, so that every attempt of it goes on with the same curves."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Self

from finetune_trainer.contract.run_file import RunFile, RunFolders


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The run, its settings, and where it is."""

    identifier: str
    """Of this run alone: namespace-name-run."""
    name: str
    group: str
    """Of all runs of a job: namespace/name."""
    settings: Mapping[str, str]
    """The run file, by dotted path."""
    folder: Path
    path: str
    """The same, in the volume."""

    @classmethod
    def of(cls, run: RunFile, folders: RunFolders) -> Self:
        return cls(
            identifier=f"{run.namespace}-{run.name}-{run.run}",
            name=f"{run.name}-{run.run}",
            group=f"{run.namespace}/{run.name}",
            settings=dict(_flat(run)),
            folder=folders.run,
            path=run.paths.run,
        )


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The settings that are set."""
    if is_dataclass(value) and not isinstance(value, type):
        for name, field in vars(value).items():
            yield from _flat(field, f"{path}.{name}" if path else name)
    elif isinstance(value, tuple) and any(map(is_dataclass, value)):
        yield path, json.dumps([asdict(each) for each in value])
    elif value is not None:
        yield path, str(value) if not isinstance(value, Mapping) else json.dumps(dict(value))
