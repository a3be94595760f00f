"""A Lease that says who leads, as client-go's leader election writes and reads it.

https://pkg.go.dev/k8s.io/client-go/tools/leaderelection
"""

from datetime import UTC, datetime

from finetune_operator.core.objects import Manifest, Ref

_API_VERSION, _KIND = "coordination.k8s.io/v1", "Lease"


def lease_ref(namespace: str, name: str) -> Ref:
    """Return the reference to a Lease."""
    return Ref(api_version=_API_VERSION, kind=_KIND, namespace=namespace, name=name)


def holder_of(lease: Manifest) -> str:
    """Return who holds a Lease; empty for one that was released."""
    return str(lease.get("spec", {}).get("holderIdentity") or "")


def seconds_of(lease: Manifest) -> float:
    """Return how long a Lease holds from its last renewal on."""
    return float(lease.get("spec", {}).get("leaseDurationSeconds") or 0)


def held_lease(ref: Ref, before: Manifest | None, identity: str, seconds: int, now: datetime) -> Manifest:
    """Return the Lease as its holder writes it; whoever takes it from another counts one transition more."""
    spec = (before or {}).get("spec", {})
    mine = before is not None and holder_of(before) == identity
    moment = _micro_time(now)
    return _lease(
        ref,
        before,
        {
            "holderIdentity": identity,
            "leaseDurationSeconds": seconds,
            "acquireTime": spec.get("acquireTime", moment) if mine else moment,
            "renewTime": moment,
            "leaseTransitions": (spec.get("leaseTransitions") or 0) + (before is not None and not mine),
        },
    )


def released_lease(ref: Ref, before: Manifest, now: datetime) -> Manifest:
    """Return the Lease as its holder leaves it behind: nobody's, to be taken at once."""
    moment = _micro_time(now)
    return _lease(
        ref,
        before,
        {
            "leaseDurationSeconds": 1,
            "acquireTime": moment,
            "renewTime": moment,
            "leaseTransitions": before["spec"].get("leaseTransitions", 0),
        },
    )


def _lease(ref: Ref, before: Manifest | None, spec: Manifest) -> Manifest:
    """Return a Lease; after another of it, one that the API server takes only as that one's successor."""
    metadata = before["metadata"] if before else {"namespace": ref.namespace, "name": ref.name}
    return {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": metadata, "spec": spec}


def _micro_time(now: datetime) -> str:
    """Return a time as metav1.MicroTime has it."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
