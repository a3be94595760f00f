from typing import Any

import pytest

from finetune_operator.cli.progress_table import progress_line, unevenness


@pytest.mark.parametrize(
    ("progress", "told"),
    [
        pytest.param({}, [], id="nothing known"),
        pytest.param({"expertLoad": 1.05, "slowestRank": 1, "slowdown": 1.02}, [], id="even"),
        pytest.param({"expertLoad": 2.34}, ["fullest expert 2.3 x"], id="an expert"),
        pytest.param({"expertRankLoad": 1.256}, ["fullest rank 1.26 x"], id="a rank of experts"),
        pytest.param({"slowestRank": 0, "slowdown": 1.5}, ["slowest rank 0 by 1.50 x"], id="a slow rank"),
    ],
)
def test_what_ranks_wait_for_is_told(progress: dict[str, Any], told: list[str]) -> None:
    assert unevenness(progress) == told


def test_what_pairs_come_to_is_told() -> None:
    progress = {"stage": "train", "step": 3, "totalSteps": 9, "rewardAccuracy": 0.875, "rewardMargin": 0.4123}
    job = {"kind": "FineTuneJob", "metadata": {"name": "faq"}, "status": {"progress": progress}}
    assert progress_line(job) == "FineTuneJob faq: train: step 3/9, pairs right 88%, reward margin 0.412"


def test_it_ends_the_line_of_progress() -> None:
    progress = {"stage": "train", "step": 3, "totalSteps": 9, "slowestRank": 7, "slowdown": 1.25}
    job = {"kind": "FineTuneJob", "metadata": {"name": "faq"}, "status": {"progress": progress}}
    assert progress_line(job) == "FineTuneJob faq: train: step 3/9, slowest rank 7 by 1.25 x"
