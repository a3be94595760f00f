import pytest
from torchtitan.distributed import utils as dist_utils

from finetune_trainer.cpu import use_cpu


@pytest.fixture(autouse=True)
def plain_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process group and no mesh."""
    use_cpu()
    monkeypatch.setattr(dist_utils, "_spmd_backend", "partial_dtensor")
