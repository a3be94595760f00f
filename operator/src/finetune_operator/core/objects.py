"""Kubernetes objects as plain dicts, and how one is told from another."""

from dataclasses import dataclass
from typing import Any, Self

Manifest = dict[str, Any]
"""A Kubernetes object, as it stands in YAML."""


@dataclass(frozen=True, kw_only=True, order=True)
class Ref:
    """Which object: enough to get it or to delete it."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Return the reference to a manifest."""
        metadata = manifest["metadata"]
        return cls(
            api_version=manifest["apiVersion"],
            kind=manifest["kind"],
            namespace=metadata["namespace"],
            name=metadata["name"],
        )


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The parent that children belong to, and that garbage collection follows."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str

    @property
    def reference(self) -> Manifest:
        """The entry in a child's `metadata.ownerReferences`."""
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }


def without_empty(value: Any) -> Any:
    """Drop keys that hold None or an empty collection, so that builders can state optional fields in place.

    An `emptyDir: {}` would go too: such builders write their volume sources after this.
    """
    if isinstance(value, dict):
        kept = {key: without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, {}, [])}
    if isinstance(value, list | tuple):
        return [without_empty(item) for item in value]
    return value
