"""However late and out of order the words of a cluster come, the cache ends as the cluster is.

`python bench/survival.py` goes on with the same to a million events.
"""

from random import Random

from cluster_machine import ClusterMachine, check_converged
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_watch import SimulatedWatch

from finetune_operator.core.objects import Ref
from finetune_operator.core.observed.kinds import observe
from finetune_operator.core.observed.object import ObservedObject

TestCluster = ClusterMachine.TestCase
TestCluster.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_a_long_life(seed: int, breaks: bool) -> None:
    watch = SimulatedWatch(draw=Random(seed), breaks=breaks)
    for _ in range(300):
        watch.step()
    watch.settle()
    check_converged(watch)


def test_an_answer_that_comes_after_the_end_of_its_object_brings_nothing_back() -> None:
    watch = SimulatedWatch(draw=Random(0))
    ref = Ref(api_version="v1", kind="Service", namespace="ml", name="faq")
    made, deleted = observe(watch._manifest(ref, "u")), observe(watch._manifest(ref, "u"))
    watch.cache.drop(deleted)
    assert not watch.cache.put(made)
    assert watch.cache.get(ref, ObservedObject) is None
    assert watch.cache.put(observe(watch._manifest(ref, "another")))
