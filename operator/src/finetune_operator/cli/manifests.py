"""Loads manifests, or says everything that is wrong with them."""

from collections.abc import Sequence
from pathlib import Path

from finetune_operator.api.validation import load_manifests
from finetune_operator.core.objects import Manifest


def load_valid(files: Sequence[Path], namespace: str) -> list[Manifest]:
    return load_manifests(files)
