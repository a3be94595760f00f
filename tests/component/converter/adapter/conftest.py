"""A base that adapters are compared on."""

from pathlib import Path

import pytest
from small_deepseek import small_model


@pytest.fixture(scope="module")
def float32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In float32, in which products are compared."""
    folder = tmp_path_factory.mktemp("base")
    small_model().float().save_pretrained(folder)
    return folder
