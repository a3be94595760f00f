import shutil
from collections import namedtuple

import pytest

from finetune_trainer.checkpoint.space import check_checkpoint_space
from finetune_trainer.contract.failure import Reason, StorageError

Usage = namedtuple("Usage", ["total", "used", "free"])


def test_checkpoints_need_space(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Usage(2**40, 0, 3 * 2**30))
    check_checkpoint_space(tmp_path / "checkpoints", 2**30, missing=3)
    with pytest.raises(StorageError) as caught:
        check_checkpoint_space(tmp_path / "checkpoints", 2**30, missing=4)
    assert (caught.value.exit_code, caught.value.reason) == (13, Reason.STORAGE_FULL)
    assert "4 checkpoints need 4.00 GiB, the volume has 3.00 GiB free" in caught.value.message
