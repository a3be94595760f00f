"""A merged model that has passed the gate."""

from pathlib import Path

import torch
from small_deepseek import load_model

from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.verify.stage import verify_folders


def merged(base: Path, adapter: Path) -> dict[str, torch.Tensor]:
    """Merge into `merged`, beside the adapter; its tensors."""
    out = adapter.parent / "merged"
    merge_folders(base=base, adapter=adapter, out=out, dtype=Dtype.BASE, workers=1)
    # The gate asks PEFT for itself: what is merged right must pass it.
    verify_folders(base=base, adapter=adapter, merged=out, dtype=Dtype.BASE)
    return load_model(out)
