"""A merge to be done."""

from dataclasses import dataclass
from pathlib import Path

from finetune_converter.model_files.export_dtype import Dtype


@dataclass(frozen=True, kw_only=True)
class MergeJob:
    """Two folders in, one out."""

    base: Path
    adapter: Path
    out: Path
    dtype: Dtype
