"""The children of two whole manifests, byte for byte, and the run files of the contract.

`UPDATE_GOLDEN=1 pytest tests/unit/operator/finetune/test_golden.py` writes them anew; read the difference.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.config import Config, Images
from finetune_operator.core.digest import spec_hash_of
from finetune_operator.core.job_observation import JobState, ObservedJob
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.finetune import Observed
from finetune_operator.finetune.reconcile import reconcile
from finetune_operator.finetune.run import run_file
from finetune_operator.finetune.stages import Stage

GOLDEN = Path(__file__).parents[3] / "golden"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = Config(images=Images(trainer="trainer:test", converter="converter:test", server="server:test"))


class PlainDumper(yaml.SafeDumper):
    """Writes no aliases, and strings of several lines as blocks."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def _block(dumper: PlainDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


PlainDumper.add_representer(str, _block)


def load(name: str) -> FineTuneJob:
    return FineTuneJob.model_validate(
        yaml.safe_load((GOLDEN / "children" / f"{name}.manifest.yaml").read_text())
    )


def all_children(job: FineTuneJob) -> list[Manifest]:
    """Return every child that the job has in a life without failures, in the order they are made."""
    children: list[Manifest] = []
    run = run_file(job)["run"]
    for done in range(len(Stage) + 1):
        jobs = tuple(
            ObservedJob(
                name=f"{stage}",
                component=stage,
                run=run,
                attempt=0,
                state=JobState.SUCCEEDED,
                started_at=NOW,
                finished_at=NOW,
            )
            for stage in tuple(Stage)[:done]
        )
        seen = {Ref.of(child): spec_hash_of(child) for child in children}
        children += reconcile(job, Observed(children=seen, jobs=jobs), NOW, CONFIG).apply
    return children


@pytest.mark.parametrize("name", ["quickstart", "671b"])
def test_children(name: str) -> None:
    path = GOLDEN / "children" / f"{name}.yaml"
    text = yaml.dump_all(all_children(load(name)), Dumper=PlainDumper, sort_keys=False, allow_unicode=True)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", ["quickstart", "671b"])
def test_run_file(name: str) -> None:
    """The contract's run files, whose run ids are made up."""
    golden = json.loads((GOLDEN / "run" / f"{name}.json").read_text())
    made = run_file(load(name))
    golden["paths"]["run"] = golden["paths"]["run"].replace(golden["run"], made["run"])
    golden["run"] = made["run"]
    assert made == golden
