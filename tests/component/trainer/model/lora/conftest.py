import pytest


@pytest.fixture(autouse=True)
def _plain_tensors(plain_tensors: None) -> None:
    """Every test of this folder computes on plain tensors."""
