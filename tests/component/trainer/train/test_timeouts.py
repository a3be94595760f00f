"""Limits that no run that works reaches, however slow its network and volume are."""

from dataclasses import replace
from pathlib import Path

import pytest

from finetune_trainer.contract.run_file import RunFile, load_run
from finetune_trainer.model.flavors import build_model_config
from finetune_trainer.train.timeouts import SECONDS_TO_COMPILE, base_bytes, comm_config, flops_a_token

GOLDEN = Path(__file__).parents[3] / "golden/run"


@pytest.fixture
def large() -> RunFile:
    return load_run(GOLDEN / "671b.json")


def test_the_arithmetic_is_that_of_the_published_model(large: RunFile) -> None:
    model = build_model_config("671B_lora", device="cuda")
    assert base_bytes(large, model) == pytest.approx(2 * 671e9, rel=0.01)
    assert flops_a_token(model, 0) == pytest.approx(2 * 36.6e9, rel=0.02)  # 37B active, less the embeddings


def test_a_large_base_is_waited_for_and_a_long_step_too(large: RunFile) -> None:
    model = build_model_config("671B_lora", device="cuda")
    comm = comm_config(large, model)
    assert comm.init_timeout_seconds - comm.train_timeout_seconds > 400  # 42 GB at 100 MB/s
    assert comm.train_timeout_seconds > SECONDS_TO_COMPILE
    longer = replace(large, training=replace(large.training, sequence_length=131_072))
    assert comm_config(longer, model).train_timeout_seconds > comm.train_timeout_seconds + 3600


def test_small_runs_wait_for_compilers_and_little_more() -> None:
    run = load_run(GOLDEN / "quickstart.json")
    comm = comm_config(run, build_model_config("tiny_lora", device="cpu"))
    assert (
        SECONDS_TO_COMPILE <= comm.train_timeout_seconds <= comm.init_timeout_seconds < 2 * SECONDS_TO_COMPILE
    )
