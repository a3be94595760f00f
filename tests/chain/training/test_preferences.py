"""The trainer's own loop learns from preference pairs as TRL does."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from preference_pairs import SETTINGS, prepare, random_rows, trained_rows, with_template
from training_run import TrainingRun
from trl_training import trl_steps

pytestmark = pytest.mark.chain

STEPS = 20


@pytest.fixture(scope="module")
def chat_base(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    return with_template(tiny_base, tmp_path_factory.mktemp("chat") / "tiny-base")


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, chat_base: Path) -> TrainingRun:
    """Twenty steps in one process."""
    run = TrainingRun(tmp_path_factory.mktemp("pairs"), chat_base)
    run.having({**SETTINGS, "training.steps": STEPS, "lora.targets": ["attention"]})
    prepare(run, random_rows())
    run.execute("--tokens")
    return run


def told(run: TrainingRun, key: str = "loss") -> list[dict[str, Any]]:
    lines = map(json.loads, (run.folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if key in line]


def assert_same_steps(run: TrainingRun, expected: list[dict[str, float]]) -> None:
    """Losses, rewards and gradients of a run's steps, as TRL logs them."""
    for step, theirs in zip(told(run), expected, strict=True):
        ours = step["rewards"]
        told_of_pairs = {
            "loss": step["loss"],
            "grad_norm": step["gradNorm"],
            "rewards/chosen": ours["chosen"],
            "rewards/rejected": ours["rejected"],
            "rewards/margins": ours["margin"],
            "rewards/accuracies": ours["accuracy"],
        }
        assert told_of_pairs == pytest.approx({name: theirs[name] for name in told_of_pairs}, abs=1e-3)
        assert ours["logpsChosen"] == pytest.approx(theirs["logps/chosen"], abs=2e-3)


def test_loss_and_rewards_are_those_of_trl(learned: TrainingRun, chat_base: Path, tmp_path: Path) -> None:
    rows = trained_rows(learned, random_rows(), STEPS)
    seed = learned.document["training"]["seed"]
    expected = trl_steps(chat_base, rows, seed=seed, folder=tmp_path)
    assert len(expected) == STEPS
    assert_same_steps(learned, expected)


def test_it_learns_the_preference(learned: TrainingRun) -> None:
    first, *_, last = told(learned)
    assert (first["loss"], first["rewards"]["margin"]) == (pytest.approx(math.log(2)), 0)
    assert last["loss"] < 0.4
    assert last["rewards"]["accuracy"] > 0.8


def test_the_reference_is_the_adapter_that_training_starts_from(
    learned: TrainingRun, chat_base: Path, tmp_path: Path
) -> None:
    run = TrainingRun(tmp_path, chat_base)
    start = tmp_path / "adapters/first"
    shutil.copytree(learned.folder / "adapter", start)
    run.having({**SETTINGS, "training.steps": 2, "lora.targets": ["attention"]})
    run.having({"lora.from": {"uri": "adapters/first", "path": "adapters/first", "revision": None}})
    prepare(run, random_rows())
    run.execute("--tokens")
    rows = trained_rows(run, random_rows(), 2)
    expected = trl_steps(chat_base, rows, seed=0, start=start, folder=tmp_path / "trl")
    assert_same_steps(run, expected)


def test_two_processes_learn_as_one(chat_base: Path, tmp_path: Path) -> None:
    """Experts with adapters are on one process each, the rest is sharded; a sixth is held out."""
    settings = {
        **SETTINGS,
        "training.steps": 2,
        "training.microBatchSize": 1,
        "training.select": "best",
        "training.validation": {"interval": 2, "patience": None},
        "dataset.validationShare": 0.17,
        "lora.targets": ["attention", "mlp", "experts"],
    }
    alone, together = (TrainingRun(tmp_path / name, chat_base) for name in ("alone", "together"))
    together.having({"workers.processesPerNode": 2, "training.parallelism.expert": 2})
    for run in (alone, together):
        prepare(run.having(settings), random_rows())
        run.execute("--tokens")
    for key in ("loss", "validationLoss"):
        lines = [told(run, key) for run in (alone, together)]
        assert [line["step"] for line in lines[0]] == ([1, 2] if key == "loss" else [0, 2])
        for one, other in zip(*lines, strict=True):
            assert one[key] == pytest.approx(other[key], abs=1e-3)
            rewards = "rewards" if key == "loss" else "validationRewards"
            assert one[rewards] == pytest.approx(other[rewards], abs=2e-3)
    assert told(alone, "validationLoss")[0]["validationLoss"] == pytest.approx(math.log(2))
