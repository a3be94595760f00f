"""What a released model says of its evaluation, in MANIFEST.json and in its card."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from finetune_converter.files.atomic import write_text
from finetune_converter.files.digest import digest_file
from finetune_converter.model_files.manifest import (
    lineage_from,
    listed_files,
    read_manifest,
    write_manifest,
)
from finetune_converter.model_files.model_card import CARD, NOTE, model_card


def record_scores(folder: Path, scores: tuple[dict[str, Any], ...]) -> None:
    """Write them into a verified folder that is not released yet: its card, and the manifest last."""
    manifest = read_manifest(folder)
    lineage = replace(lineage_from(manifest["lineage"]), evaluation=scores)
    lines = (folder / CARD).read_text(encoding="utf-8").splitlines()
    notes = [line.removeprefix(NOTE) for line in lines if line.startswith(NOTE)]
    write_text(folder / CARD, model_card(lineage, manifest["tool"]["version"], notes))
    files = {**listed_files(folder), CARD: digest_file(folder / CARD)}
    write_manifest(folder, lineage, manifest["inputs"], files)
