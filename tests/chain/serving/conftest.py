from collections.abc import Iterator
from pathlib import Path

import pytest

# bench/ serves with the module beside this file too.
from vllm_server import VllmServer, vllm_server


@pytest.fixture(scope="session")
def server(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    log = tmp_path_factory.mktemp("vllm") / "log"
    with vllm_server(tiny_base, log, "--dtype", "float32", processes=2) as running:
        yield running
