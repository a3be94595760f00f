"""Digests of JSON values: the run id, and whether a child is as we want it."""

import hashlib
import json
from typing import Any

from finetune_operator.core.labels import SPEC_HASH
from finetune_operator.core.objects import Manifest

RUN_ID_DIGITS = 8


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON value, whatever the order of its keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def run_id(what_trains: Any) -> str:
    """Return the id of a run: the same for the same training, another when anything that trains changes."""
    return digest(what_trains)[:RUN_ID_DIGITS]


def with_spec_hash(child: Manifest) -> Manifest:
    """Return the child with the hash of itself as an annotation.

    The API server adds defaults to what we apply; comparing hashes tells our own changes from its additions.
    """
    metadata = child["metadata"]
    annotations = {**metadata.get("annotations", {}), SPEC_HASH: digest(child)[:16]}
    return {**child, "metadata": {**metadata, "annotations": annotations}}


def spec_hash_of(child: Manifest) -> str:
    """Return the hash that a child carries, or an empty string."""
    return str(child["metadata"].get("annotations", {}).get(SPEC_HASH, ""))
