"""Kubernetes events about a parent."""

from datetime import datetime

from finetune_operator.core.conditions import timestamp
from finetune_operator.core.labels import MANAGER
from finetune_operator.core.objects import Manifest
from finetune_operator.core.plan import Event

# The API refuses a longer message.
_MOST_CHARACTERS = 1024


def build_event(parent: Manifest, event: Event, now: datetime) -> Manifest:
    """Return the object that `kubectl describe` shows."""
    metadata = parent["metadata"]
    moment = timestamp(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": parent["apiVersion"],
            "kind": parent["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.message[:_MOST_CHARACTERS],
        "source": {"component": MANAGER},
        "reportingComponent": MANAGER,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
