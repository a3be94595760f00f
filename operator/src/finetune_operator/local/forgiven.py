"""A job that failed and is run again: by the annotation that asks a cluster for another try, too."""

import time

from finetune_operator.core.conditions import condition_of, timestamp
from finetune_operator.core.labels import RETRIED_AT
from finetune_operator.core.objects import Manifest
from finetune_operator.finetune.memory import forgiveness
from finetune_operator.finetune.reasons import JobReason
from finetune_operator.local.clock import Clock


def forgiven(manifest: Manifest, before: Manifest | None, clock: Clock) -> Manifest:
    """Return the manifest with what forgives the failures so far: whoever runs it has done what they said.

    A deadline that is over stays so: raised, the job goes on by itself.
    """
    if before is None or before["kind"] != "FineTuneJob":
        return manifest
    asked = {k: v for k, v in (before["metadata"].get("annotations") or {}).items() if k == RETRIED_AT}
    failed = condition_of(before.get("status", {}), "Failed")
    if failed.get("status") == "True" and failed["reason"] != JobReason.DEADLINE_EXCEEDED:
        asked = forgiveness(before["status"])
        _until_after(asked[RETRIED_AT], clock)
    given = manifest["metadata"].get("annotations") or {}
    metadata = {**manifest["metadata"], "annotations": {**given, **asked}}
    return {**manifest, "metadata": metadata} if asked else manifest


def _until_after(moment: str, clock: Clock) -> None:
    """Wait for the end of that second: times are whole ones, and what fails in it would be forgiven too."""
    while timestamp(clock.now()) == moment:
        time.sleep(0.05)
