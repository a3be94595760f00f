import pytest

from finetune_operator.core.capacity.changes import doublings, halvings


@pytest.mark.parametrize(
    ("value", "limit", "expected"),
    [
        pytest.param(1, 8, [2, 4, 8], id="up to the limit"),
        pytest.param(3, 8, [6], id="below it"),
        pytest.param(8, 8, [], id="there already"),
        pytest.param(0, 8, [], id="nothing to double"),
    ],
)
def test_doublings(value: int, limit: int, expected: list[int]) -> None:
    assert list(doublings(value, limit)) == expected


def test_halvings() -> None:
    assert list(halvings(9)) == [4, 2, 1]
