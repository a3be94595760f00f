"""What several chain tests start from."""

from pathlib import Path

import pytest
from demo_base import built_tiny_base
from family_chain import FamilyChain, run_chains


@pytest.fixture(scope="session")
def tiny_base() -> Path:
    return built_tiny_base()


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FamilyChain]:
    """Every shape of the families, through the chain to the gate; vLLM loads them with other models."""
    return run_chains(tmp_path_factory.mktemp("families"))
