"""The children of whole manifests, byte for byte, and the run files of the contract.

`UPDATE_GOLDEN=1 pytest tests/unit/operator -k golden` writes them anew; read the difference.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import observing
import pytest

from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.config import Config, Images
from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.job import JobState
from finetune_operator.core.run import build_run_file, run_of
from finetune_operator.finetune import Observed
from finetune_operator.finetune.reconcile import reconcile
from finetune_operator.finetune.stages import stages_of

RUNS = Path(__file__).parents[3] / "golden" / "run"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = Config(images=Images(trainer="trainer:test", converter="converter:test", server="server:test"))


def all_children(job: FineTuneJob) -> list[Manifest]:
    """Return every child that the job has in a life without failures, in the order they are made."""
    children: list[Manifest] = []
    run, stages = run_of(job.spec), stages_of(job.spec)
    for done in range(len(stages) + 1):
        jobs = tuple(
            observing.attempt(stage, state=JobState.SUCCEEDED, run=run, started=NOW, finished=NOW)
            for stage in stages[:done]
        )
        seen = observing.children(children)
        children += reconcile(job, Observed(children=seen, jobs=jobs), NOW, CONFIG).apply
    return children


@pytest.mark.parametrize("name", ["quickstart", "671b", "digits"])
def test_children(
    golden_manifest: Callable[[str], Manifest],
    check_children: Callable[[str, list[Manifest]], None],
    name: str,
) -> None:
    check_children(name, all_children(FineTuneJob.model_validate(golden_manifest(name))))


@pytest.mark.parametrize("name", ["quickstart", "671b"])
def test_run_file(golden_manifest: Callable[[str], Manifest], name: str) -> None:
    """The contract's run files, whose run ids are made up."""
    golden = json.loads((RUNS / f"{name}.json").read_text())
    made = build_run_file(FineTuneJob.model_validate(golden_manifest(name))).model_dump(
        mode="json", by_alias=True
    )
    golden["paths"]["run"] = golden["paths"]["run"].replace(golden["run"], made["run"])
    golden["run"] = made["run"]
    assert made == golden


def test_a_default_that_is_written_out_makes_no_other_run(job: Callable[..., FineTuneJob]) -> None:
    written = job(training={"steps": 10, "sequenceLength": job().spec.training.sequence_length})
    assert build_run_file(written) == build_run_file(job())


def test_what_is_looked_at_before_makes_no_other_run(job: Callable[..., FineTuneJob]) -> None:
    unverified = build_run_file(job(model={"uri": job().spec.model.uri, "verify": False}))
    assert unverified.run == build_run_file(job()).run
    assert not unverified.model.verify
