import pytest
import torch

from finetune_trainer.train.expert_load import most_loaded


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        pytest.param([[4, 4, 4, 4]], 1.0, id="even"),
        pytest.param([[4, 4, 4, 4], [8, 4, 4, 0]], 2.0, id="the most uneven layer"),
        pytest.param([[16, 0, 0, 0]], 4.0, id="all to one"),
        pytest.param([[0, 0, 0, 0]], 0.0, id="no tokens"),
    ],
)
def test_the_fullest_expert_is_compared_with_the_mean(counts: list[list[int]], expected: float) -> None:
    assert most_loaded(torch.tensor(counts, dtype=torch.float32)) == pytest.approx(expected)
