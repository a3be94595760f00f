"""However late and out of order the words of a cluster come, the cache ends as the cluster is."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_watch import KINDS, SimulatedWatch

from finetune_operator.core.objects import Ref
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.kinds import observe
from finetune_operator.core.observed.object import ObservedObject


def held(cache: Cache) -> dict[Ref, tuple[str, int]]:
    objects = (obj for _, kind in KINDS for obj in cache.of_kind(kind, ObservedObject))
    return {obj.ref: (obj.uid, obj.version) for obj in objects}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_after_everything_has_arrived_the_cache_is_what_is_there(seed: int, breaks: bool) -> None:
    watch = SimulatedWatch(draw=Random(seed), breaks=breaks)
    for _ in range(300):
        watch.step()
    watch.settle()
    fresh = Cache()
    for manifest in watch.there.values():
        fresh.put(observe(manifest))
    assert held(watch.cache) == held(fresh)
    # By every way that leads to an object: a stale entry of an index would lead nowhere, or astray.
    assert (watch.cache._owned, watch.cache._components) == (fresh._owned, fresh._components)
    assert set(watch.cache._delayed) == set(fresh._delayed)


def test_an_answer_that_comes_after_the_end_of_its_object_brings_nothing_back() -> None:
    watch = SimulatedWatch(draw=Random(0))
    ref = Ref(api_version="v1", kind="Service", namespace="ml", name="faq")
    made, deleted = observe(watch._manifest(ref, "u")), observe(watch._manifest(ref, "u"))
    watch.cache.drop(deleted)
    assert not watch.cache.put(made)
    assert watch.cache.get(ref, ObservedObject) is None
    assert watch.cache.put(observe(watch._manifest(ref, "another")))
