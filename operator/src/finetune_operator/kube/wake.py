"""Whom a change concerns: the parents whose reconcile may come to something else."""

from collections.abc import Iterable, Iterator

from finetune_operator.api.resources import FINE_TUNE_JOB
from finetune_operator.core.objects import Ref
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.object import ObservedObject
from finetune_operator.core.observed.pod import ObservedPod
from finetune_operator.kinds import KINDS


def parents_of(cache: Cache, obj: ObservedObject) -> Iterable[Ref]:
    """Return the parents that an object's change concerns."""
    if isinstance(obj, ObservedPod):
        return {ref for maker in cache.makers_of(obj) for ref in _owners(maker)}
    concerned = set(_owners(obj))
    if obj.ref.kind in KINDS:
        concerned.add(obj.ref)
    if obj.ref.kind == FINE_TUNE_JOB.kind:
        concerned |= cache.naming(obj.ref)
    return concerned


def _owners(obj: ObservedObject) -> Iterator[Ref]:
    return (owner.ref for owner in obj.owners if owner.kind in KINDS)
