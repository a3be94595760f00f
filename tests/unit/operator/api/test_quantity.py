import pytest

from finetune_operator.api.quantity import parse_bytes


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        pytest.param(80, 80, id="a number"),
        pytest.param("141G", 141_000_000_000, id="G"),
        pytest.param("80Gi", 80 * 2**30, id="Gi"),
        pytest.param("1.5Ti", 3 * 2**39, id="a fraction"),
        pytest.param("1e3", 1000, id="an exponent"),
        pytest.param("2E3", 2000, id="a large E is an exponent where digits follow"),
        pytest.param("2E", 2 * 10**18, id="exa"),
        pytest.param("500m", 0, id="less than a byte"),
    ],
)
def test_parse_bytes(quantity: str | int, expected: int) -> None:
    assert parse_bytes(quantity) == expected
