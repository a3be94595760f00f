import pytest

from finetune_trainer.train.straggler import SlowestRank, slowest_rank


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param([2.0, 2.0, 3.0, 2.0], SlowestRank(rank=2, slowdown=1.5), id="one of four"),
        pytest.param([1.0, 2.0], SlowestRank(rank=1, slowdown=2), id="one of two: the other is the middle"),
        pytest.param([2.0, 2.0], SlowestRank(rank=0, slowdown=1), id="none"),
        pytest.param([2.0], None, id="alone"),
        pytest.param([2.0, 0.0], None, id="not known of one"),
    ],
)
def test_the_slowest_is_compared_with_the_middle(seconds, expected) -> None:
    assert slowest_rank(seconds) == expected
