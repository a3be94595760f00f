"""Kubernetes objects as plain dicts, and how one is told from another."""

from dataclasses import dataclass
from sys import intern
from typing import Any, Self

Manifest = dict[str, Any]
"""A Kubernetes object, as it stands in YAML."""


@dataclass(frozen=True, kw_only=True, order=True, slots=True)
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
            api_version=intern(manifest["apiVersion"]),
            kind=intern(manifest["kind"]),
            namespace=intern(metadata["namespace"]),
            name=metadata["name"],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """The parent that children belong to, and that garbage collection follows."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str

    @property
    def ref(self) -> Ref:
        """Which object it is."""
        return Ref(api_version=self.api_version, kind=self.kind, namespace=self.namespace, name=self.name)

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


def without_empty(fields: Manifest) -> Manifest:
    """Drop fields that hold None or an empty collection, so that builders can state optional ones in place.

    Only at the top: deeper, an empty object may have a meaning (`emptyDir: {}`, `namespaceSelector: {}`).
    """
    return {name: value for name, value in fields.items() if value not in (None, {}, [])}
