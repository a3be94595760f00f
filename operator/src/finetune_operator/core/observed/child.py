"""Objects that a parent has: whether they are there, and as we applied them."""

from dataclasses import dataclass, field
from typing import Any

from finetune_operator.core.conditions import time_of
from finetune_operator.core.digest import spec_hash_of
from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.kept import keep, kept
from finetune_operator.core.observed.object import ObservedObject, common_fields, shared, wakes_nobody
from finetune_operator.core.wait_reason import WaitReason
from finetune_operator.core.waiting import Wait

# A Job is made once, a ConfigMap of ours is immutable, and a claim belongs to its volume's driver.
_COMPARED_WITH_WHAT_WE_WANT = frozenset(
    {
        "Deployment",
        "HTTPRoute",
        "HorizontalPodAutoscaler",
        "LeaderWorkerSet",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "ScaledObject",
        "Service",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedChild(ObservedObject):
    """An object that we applied."""

    labels: dict[str, str] = field(default_factory=dict)
    spec_hash: str = ""
    """Of what we applied, by our own annotation."""
    packed_spec: bytes = b""
    """The whole spec where it is compared with what we want, in case somebody changed it; otherwise empty."""
    phase: str = wakes_nobody("")
    """status.phase: of a claim whether it is bound, for the metrics."""

    @property
    def spec(self) -> Manifest | None:
        """The whole spec where it is kept, otherwise None."""
        return kept(self.packed_spec) if self.packed_spec else None


def child_fields(obj: Manifest) -> dict[str, Any]:
    """Return the fields of ObservedChild."""
    return {
        **common_fields(obj),
        "labels": shared(obj["metadata"].get("labels", {})),
        "spec_hash": spec_hash_of(obj),
        "packed_spec": packed_spec_of(obj) if obj["kind"] in _COMPARED_WITH_WHAT_WE_WANT else b"",
        "phase": obj.get("status", {}).get("phase", ""),
    }


def packed_spec_of(obj: Manifest) -> bytes:
    """Return the whole spec as it is kept; empty where there is none."""
    return keep(obj["spec"]) if "spec" in obj else b""


def observe_child(obj: Manifest) -> ObservedChild:
    """Return an object of a kind of which nothing more is read."""
    return ObservedChild(**child_fields(obj), delayed=_delayed(obj))


def _delayed(obj: Manifest) -> Wait | None:
    """Return the wait of a claim that has no volume yet."""
    if obj["kind"] != "PersistentVolumeClaim" or obj.get("status", {}).get("phase") != "Pending":
        return None
    metadata = obj["metadata"]
    since = time_of(metadata.get("creationTimestamp"))
    return Wait(reason=WaitReason.CLAIM, name=metadata["name"], since=since)
