"""A million answers of pods to the poller, a million events to the cache, as hypothesis likes.

The same strategies and the same state machine as of the unit tests, lot after lot until so many
were tried: hypothesis also makes examples that are shorter than they may be.
"""

import argparse
import logging
import resource
import sys
import time
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/builders"))

from cluster_machine import ClusterMachine
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test
from simulated_time import run
from strange_pods import ANSWERS, Answer, poll

from report import write_report

_ANSWERS_A_LIFE, _EVENTS_A_LIFE = 40, 100
_PODS = 6
_LIVES_A_LOT = 250  # hypothesis keeps all that a run tried, 20 GB of a million


def main() -> None:
    parser = argparse.ArgumentParser(prog="survival", description=__doc__)
    parser.add_argument("--answers", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # each junk is a line
    figures = {
        "poller": polled(options.answers, options.seed),
        "cache": converged(options.events, options.seed),
        "peakMemoryMB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    write_report("survival", figures, packages=("finetune-operator", "aiohttp", "hypothesis"))


def long_profile(**others: Any) -> settings:
    """A lot of examples, each a new one: none is kept, and none is tried again."""
    return settings(
        max_examples=_LIVES_A_LOT,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        **others,
    )


def polled(wanted: int, first_seed: int) -> dict[str, Any]:
    """A poller that ends or is held up raises, with the shortest answers that do so."""
    given_answers, simulated = 0, 0.0

    def live(answers: list[Answer], pods_seed: int) -> None:
        nonlocal given_answers, simulated
        simulated += run(poll(answers, Random(pods_seed), _PODS))
        given_answers += len(answers)

    of_a_life = st.lists(ANSWERS, min_size=_ANSWERS_A_LIFE, max_size=_ANSWERS_A_LIFE)
    began = time.process_time()
    for lot in count(first_seed):
        if given_answers >= wanted:
            break
        lives = given(of_a_life, st.integers(0, 2**32))(live)
        long_profile()(seed(lot)(lives))()
    seconds = round(time.process_time() - began)
    return {"answers": given_answers, "simulatedHours": round(simulated / 3600), "cpuSeconds": seconds}


def converged(wanted: int, first_seed: int) -> dict[str, Any]:
    """Each life ends with a cache that is what is there, or raises with the shortest one that does not."""
    began = time.process_time()
    for lot in count(first_seed):
        if ClusterMachine.events >= wanted:
            break
        machine = seed(lot)(ClusterMachine)
        profile = long_profile(stateful_step_count=_EVENTS_A_LIFE)
        run_state_machine_as_test(machine, settings=profile)  # type: ignore[no-untyped-call]
    seconds = round(time.process_time() - began)
    return {"events": ClusterMachine.events, "lives": ClusterMachine.lives, "cpuSeconds": seconds}


if __name__ == "__main__":
    main()
