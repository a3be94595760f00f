"""The newest version that was seen of every object, by a watch or as the answer to a request of our own.

Answers go in at once, so that a reconcile never misses what the one before it wrote.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import TypeVar

from finetune_operator.core.labels import COMPONENT, INSTANCE
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.kube.seen import is_news
from finetune_operator.kube.trimmed import trimmed

_Labelled = tuple[str, str | None, str | None]
_Key = TypeVar("_Key")


class Cache:
    """Objects by their reference, by their owner, and by the labels that pods share with what made them."""

    def __init__(self) -> None:
        self._objects: dict[Ref, Manifest] = {}
        self._owned: defaultdict[str, set[Ref]] = defaultdict(set)
        self._labelled: defaultdict[_Labelled, set[Ref]] = defaultdict(set)

    def put(self, obj: Manifest) -> bool:
        """Take an object, unless a newer one is there; return whether it says anything new to a reconcile."""
        ref = Ref.of(obj)
        before = self._objects.get(ref)
        if before is not None and _version(before) >= _version(obj):
            return False
        if before is not None:
            self._forget(ref, before)
        kept = trimmed(obj)
        self._objects[ref] = kept
        for owner in _owner_uids(kept):
            self._owned[owner].add(ref)
        self._labelled[_labels(kept)].add(ref)
        return is_news(before, kept)

    def drop(self, obj: Manifest) -> None:
        """Forget an object that was deleted, unless another one of its name is there by now."""
        ref = Ref.of(obj)
        before = self._objects.get(ref)
        if before is not None and before["metadata"]["uid"] == obj["metadata"]["uid"]:
            self._forget(ref, before)
            del self._objects[ref]

    def get(self, ref: Ref) -> Manifest | None:
        """Return an object."""
        return self._objects.get(ref)

    def of_kind(self, kind: str) -> Iterator[Manifest]:
        """Yield the objects of a kind."""
        return (obj for ref, obj in list(self._objects.items()) if ref.kind == kind)

    def owned_by(self, owner: Manifest, kind: str | None = None) -> list[Manifest]:
        """Return what an object owns, of one kind or of all, in the order of their names."""
        refs = sorted(self._owned.get(owner["metadata"]["uid"], ()))
        return [self._objects[ref] for ref in refs if kind in (None, ref.kind)]

    def beside(self, obj: Manifest, kind: str) -> list[Manifest]:
        """Return the objects of a kind with the same namespace, instance and component."""
        refs = sorted(self._labelled.get(_labels(obj), ()))
        return [self._objects[ref] for ref in refs if ref.kind == kind]

    def _forget(self, ref: Ref, obj: Manifest) -> None:
        for owner in _owner_uids(obj):
            _discard(self._owned, owner, ref)
        _discard(self._labelled, _labels(obj), ref)


def _discard(index: dict[_Key, set[Ref]], key: _Key, ref: Ref) -> None:
    index[key].discard(ref)
    if not index[key]:
        del index[key]


def _version(obj: Manifest) -> int:
    # Comparable as a number: KEP-5504.
    return int(obj["metadata"]["resourceVersion"])


def _owner_uids(obj: Manifest) -> list[str]:
    return [owner["uid"] for owner in obj["metadata"].get("ownerReferences", [])]


def _labels(obj: Manifest) -> _Labelled:
    metadata = obj["metadata"]
    labels = metadata.get("labels", {})
    return metadata["namespace"], labels.get(INSTANCE), labels.get(COMPONENT)
