"""Kubernetes events about a parent."""

from datetime import datetime

from finetune_operator.core.conditions import timestamp
from finetune_operator.core.drift import dropped
from finetune_operator.core.labels import MANAGER
from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.parent import ObservedParent
from finetune_operator.core.plan import Event

# The API refuses a longer message.
_MOST_CHARACTERS = 1024


def build_event(parent: ObservedParent, event: Event, now: datetime) -> Manifest:
    """Return the object that `kubectl describe` shows."""
    ref, moment = parent.ref, timestamp(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{ref.name}.", "namespace": ref.namespace},
        "involvedObject": {
            "apiVersion": ref.api_version,
            "kind": ref.kind,
            "namespace": ref.namespace,
            "name": ref.name,
            "uid": parent.uid,
            "resourceVersion": str(parent.version),
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


def fields_dropped(child: Manifest, stored: Manifest) -> Event | None:
    """Return what is said of a child of which the API server stored less than was asked for."""
    lost = dropped(stored.get("spec"), child.get("spec"), "spec")
    if not lost:
        return None
    return Event(
        type="Warning",
        reason="FieldsDropped",
        message=f"The API server stored {child['kind']} {child['metadata']['name']} without "
        f"{', '.join(lost)}: this Kubernetes has no such field, or has it turned off. "
        "Remove it, or run a newer Kubernetes",
    )
