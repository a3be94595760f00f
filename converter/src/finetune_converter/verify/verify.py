"""All checks of the gate, in the order of their cost, and what they measured.

The gate says apart from the merge what must be: it imports neither the merge nor the adapter's reading, only
the reader of safetensors (pyproject.toml, [tool.importlinter]).
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finetune_converter.model_files.manifest import SIGNATURE, read_manifest
from finetune_converter.model_files.model_folder import open_model_folder
from finetune_converter.signing.model_signature import check_signature
from finetune_converter.verify.architecture import check_shapes, read_config
from finetune_converter.verify.companions import check_companions
from finetune_converter.verify.description import check_index, check_metadata
from finetune_converter.verify.expected import check_config, check_layout, expected_tensors
from finetune_converter.verify.lineage import check_lineage
from finetune_converter.verify.listing import check_listing
from finetune_converter.verify.logits import compare_logits
from finetune_converter.verify.measured import tensor_report
from finetune_converter.verify.peft_reference import PeftReference
from finetune_converter.verify.stored import blocks_of
from finetune_converter.verify.tensors import Models, check_tensors

logger = logging.getLogger(__name__)

Advance = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """That `merged` is `base` with `adapter`, exported as `dtype` (`export.dtype` of the run file)."""

    base: Path
    adapter: Path
    merged: Path
    dtype: str
    run: Mapping[str, Any] | None = None
    """The run file; None for folders given one by one."""


def verify(claim: Claim, prompts: list[list[int]], advance: Advance = lambda _d, _t: None) -> dict[str, Any]:
    """Check the claim; what was measured, for verification.json. Raises Failure."""
    check_lineage(claim.base, claim.adapter, claim.merged, claim.dtype, claim.run)
    with open_models(claim) as (models, config):
        tick = _Steps(advance, len(read_manifest(claim.merged)["files"]) + 2 * config.num_hidden_layers + 1)
        files = check_listing(claim.merged, tick)
        check_companions(claim.base, claim.adapter, models.merged)
        if (claim.merged / SIGNATURE).exists():
            check_signature(claim.merged, None)
        check_config(models.base.config, models.merged, claim.dtype)
        check_layout(models.expected, models.merged)
        check_index(models.base, models.merged)
        check_metadata(models.base, models.merged)
        for module in sorted(models.adapter.lost):
            logger.warning(
                "%s has nothing for %s: it stays the base's",
                claim.adapter,
                module.removeprefix("base_model.model."),
            )
        tensors = check_tensors(models, tick)
        logits = compare_logits(models, config, prompts, tick)
    return {
        "schemaVersion": 1,
        "dtype": claim.dtype,
        "files": files,
        "tensors": tensor_report(tensors),
        "logits": {_camel(name): value for name, value in asdict(logits).items()},
    }


@contextmanager
def open_models(claim: Claim) -> Iterator[tuple[Models, Any]]:
    """Both folders and the adapter, opened, and transformers' configuration. Raises Failure."""
    with open_model_folder(claim.base) as base:
        config = read_config(claim.base / "config.json", base.config)
        check_shapes(
            claim.base / "config.json", config, {name: found.entry for name, found in base.tensors.items()}
        )
        with open_model_folder(claim.merged) as merged, PeftReference(claim.adapter, config) as adapter:
            base_blocks = blocks_of(base.config)
            yield (
                Models(
                    base=base,
                    merged=merged,
                    adapter=adapter,
                    expected=expected_tensors(base, adapter.changed(), claim.dtype, base_blocks),
                    base_blocks=base_blocks,
                    blocks=blocks_of(merged.config),
                ),
                config,
            )


class _Steps:
    """Tells how many steps of `total` are done."""

    def __init__(self, advance: Advance, total: int) -> None:
        self._advance, self._done, self._total = advance, 0, total

    def __call__(self) -> None:
        self._done = min(self._done + 1, self._total)
        self._advance(self._done, self._total)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
