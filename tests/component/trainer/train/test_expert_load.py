import pytest
import torch

from finetune_trainer.train.expert_load import ExpertLoad, most_uneven


@pytest.mark.parametrize(
    ("counts", "ranks", "expected"),
    [
        pytest.param([[4, 4, 4, 4]], 2, (1, 3, 0, 1), id="even"),
        pytest.param([[4, 4, 4, 4], [8, 4, 4, 0]], 2, (2, 7, 0, 1.5), id="the most uneven layer"),
        pytest.param([[16, 0, 0, 0]], 1, (4, 3, 0, 1), id="all to one, on one rank"),
        pytest.param([[0, 6, 6, 4], [0, 0, 8, 8]], 2, (2, 7, 2, 2), id="all to one rank"),
        pytest.param([[0, 0, 0, 0]], 2, (0, 3, 0, 0), id="no tokens"),
    ],
)
def test_the_fullest_expert_and_rank_are_compared_with_the_mean(
    counts: list[list[int]], ranks: int, expected: tuple[float, int, int, float]
) -> None:
    fullest, layer, expert, fullest_rank = expected
    told = most_uneven(torch.tensor(counts, dtype=torch.float32), [3, 7][: len(counts)], ranks)
    assert told == ExpertLoad(fullest=fullest, layer=layer, expert=expert, fullest_rank=fullest_rank)
