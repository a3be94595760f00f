"""The newest version that was seen of every object.

The controller keeps one from its watches and from the answers to its own requests, which go in at once: a
reconcile never misses what the one before it wrote. The local store keeps one of what it holds.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import TypeVar

from finetune_operator.core.objects import Ref
from finetune_operator.core.observed.deployment import ObservedDeployment
from finetune_operator.core.observed.job import ObservedJob
from finetune_operator.core.observed.object import ObservedObject
from finetune_operator.core.observed.parent import ObservedParent
from finetune_operator.core.observed.pod import ObservedPod

# Deletions of the last minutes at the API server's own pace; a request of ours takes half a minute at most.
_GONE_KEPT = 20_000

_Component = tuple[str, str, str]
_Key = TypeVar("_Key")
_Observed = TypeVar("_Observed", bound=ObservedObject)


class Cache:
    """Objects by kind, by owner, by a job that they name, and by labels that pods share with their makers."""

    def __init__(self) -> None:
        self._objects: defaultdict[str, dict[Ref, ObservedObject]] = defaultdict(dict)
        self._owned: defaultdict[str, set[Ref]] = defaultdict(set)
        self._naming: defaultdict[Ref, set[Ref]] = defaultdict(set)
        self._components: defaultdict[_Component, set[Ref]] = defaultdict(set)
        self._delayed: set[Ref] = set()
        self._gone: dict[str, None] = {}

    def put(self, obj: ObservedObject) -> bool:
        """Take an object, unless a newer one is there; return whether it says anything new to a reconcile.

        The answer to a request of ours may come after the word of the object's end: it is not taken then.
        """
        before = self._objects[obj.ref.kind].get(obj.ref)
        if obj.uid in self._gone or (before is not None and before.version >= obj.version):
            return False
        if before is not None:
            self._forget(before)
        self._objects[obj.ref.kind][obj.ref] = obj
        for owner in obj.owners:
            self._owned[owner.uid].add(obj.ref)
        for job in _named_by(obj):
            self._naming[job].add(obj.ref)
        self._components[_component(obj)].add(obj.ref)
        if obj.delayed:
            self._delayed.add(obj.ref)
        return obj != (before or obj.before_it_was_there())

    def drop(self, obj: ObservedObject) -> None:
        """Forget an object that was deleted, unless another one of its name is there by now."""
        if obj.uid:
            self._gone[obj.uid] = None
            if len(self._gone) > _GONE_KEPT:
                del self._gone[next(iter(self._gone))]
        before = self._objects[obj.ref.kind].get(obj.ref)
        if before is not None and before.uid == obj.uid:
            self._forget(before)
            del self._objects[obj.ref.kind][obj.ref]

    def get(self, ref: Ref, type_: type[_Observed]) -> _Observed | None:
        """Return an object, or None."""
        found = self._objects[ref.kind].get(ref)
        return found if isinstance(found, type_) else None

    def of_kind(self, kind: str, type_: type[_Observed]) -> Iterator[_Observed]:
        """Yield the objects of a kind."""
        for obj in list(self._objects[kind].values()):
            if isinstance(obj, type_):
                yield obj

    def delayed(self) -> list[ObservedObject]:
        """Return the objects that go through what is worth a word once it takes long."""
        return [self._known(ref) for ref in self._delayed]

    def naming(self, job: Ref) -> frozenset[Ref]:
        """Return the parents that need a FineTuneJob, which may not be there yet."""
        return frozenset(self._naming.get(job, ()))

    def owned_by(self, owner: ObservedObject, type_: type[_Observed]) -> list[_Observed]:
        """Return what an object has, in the order of names.

        A Deployment's pods belong to its ReplicaSets, those of a LeaderWorkerSet to its StatefulSets, which
        nobody watches: labels tell whose they are.
        """
        refs = set(self._owned.get(owner.uid, ()))
        if isinstance(owner, ObservedDeployment):
            refs |= {ref for ref in self._components.get(_component(owner), ()) if ref.kind == "Pod"}
        objects = map(self._known, sorted(refs))
        return [obj for obj in objects if isinstance(obj, type_)]

    def makers_of(self, pod: ObservedPod) -> list[ObservedJob | ObservedDeployment]:
        """Return the Jobs and the Deployments that a pod may be of, by its labels."""
        objects = map(self._known, sorted(self._components.get(_component(pod), ())))
        return [obj for obj in objects if isinstance(obj, ObservedJob | ObservedDeployment)]

    def _known(self, ref: Ref) -> ObservedObject:
        return self._objects[ref.kind][ref]

    def _forget(self, obj: ObservedObject) -> None:
        for owner in obj.owners:
            _discard(self._owned, owner.uid, obj.ref)
        for job in _named_by(obj):
            _discard(self._naming, job, obj.ref)
        _discard(self._components, _component(obj), obj.ref)
        self._delayed.discard(obj.ref)


def _named_by(obj: ObservedObject) -> set[Ref]:
    return obj.named_jobs if isinstance(obj, ObservedParent) else set()


def _component(obj: ObservedObject) -> _Component:
    return obj.ref.namespace, obj.instance, obj.component


def _discard(index: dict[_Key, set[Ref]], key: _Key, ref: Ref) -> None:
    index[key].discard(ref)
    if not index[key]:
        del index[key]
