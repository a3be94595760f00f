"""A million answers of pods to the poller, a million events to the cache: simulated months of a cluster."""

import argparse
import logging
import resource
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/builders"))

from simulated_time import run
from simulated_watch import SimulatedWatch
from strange_pods import poll_for_hours

from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.kinds import observe
from report import write_report

_STEPS_A_LIFE = 1000


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
    write_report("survival", figures, packages=("finetune-operator", "httpx"))


def polled(wanted: int, seed: int) -> dict[str, Any]:
    """Twenty pods, two simulated hours at a time; a poller that ends or is held up raises."""
    answers = news = lives = 0
    began = time.perf_counter()
    while answers < wanted:
        given, told = run(poll_for_hours(seed + lives, hours=2, pods=20))
        answers, news, lives = answers + given, news + told, lives + 1
    seconds = round(time.perf_counter() - began)
    return {"answers": answers, "news": news, "simulatedHours": 2 * lives, "seconds": seconds}


def converged(wanted: int, seed: int) -> dict[str, Any]:
    """Each life ends with a cache that is what is there, or raises."""
    lives = -(-wanted // _STEPS_A_LIFE)
    began = time.perf_counter()
    for life in range(lives):
        watch = SimulatedWatch(draw=Random(seed + life), breaks=life % 2 == 0)
        for _ in range(_STEPS_A_LIFE):
            watch.step()
        watch.settle()
        fresh = Cache()
        for manifest in watch.there.values():
            fresh.put(observe(manifest))
        if (watch.cache._objects, watch.cache._owned) != (fresh._objects, fresh._owned):
            raise SystemExit(f"error: the cache of life {life} is not what is there")
    return {"events": lives * _STEPS_A_LIFE, "lives": lives, "seconds": round(time.perf_counter() - began)}


if __name__ == "__main__":
    main()
