"""A DCP folder's tensors, put together from their chunks."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from titan_checkpoints import save

from finetune_converter.dcp.folder import DcpFolder
from finetune_converter.failure import Failure

# One process, no process group: torch warns, and that is meant here.
pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


def test_a_tensor_of_several_chunks(tmp_path: Path) -> None:
    """As FSDP and TP write them: boxes of two tensors in two files."""
    tensor = torch.arange(48.0).reshape(8, 6)
    save(
        {"a": tensor[:4, :3].clone(), "b": tensor[:4, 3:].clone(), "c": tensor[4:].clone()}, tmp_path / "step"
    )
    with DcpFolder(tmp_path / "step") as folder:
        parts = {"a": (0, 0), "b": (0, 3), "c": (4, 0)}
        chunks = tuple(
            replace(folder.tensors[name].chunks[0], offsets=offsets) for name, offsets in parts.items()
        )
        whole = replace(folder.tensors["c"], shape=(8, 6), chunks=chunks)
        assert torch.equal(folder.read(whole, 0, 8), tensor)
        assert torch.equal(folder.read(whole, 3, 6), tensor[3:6])
        with pytest.raises(Failure, match="fill 36 of 48"):
            folder.read(replace(whole, chunks=chunks[::2]), 0, 8)
