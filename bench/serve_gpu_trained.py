"""One GPU: what is served of a job, beside its trainer and transformers; a server that follows a job; loads.

`python bench/serve_gpu_trained.py --scratch /dev/shm/serve --envs ENVS`: of the base of serve_gpu.py. All of
it starts at once; then the operator's server and `vllm serve` are left, and are loaded in turn. With an
environment `sglang` in ENVS, SGLang is loaded last, where there is time.
"""

import sys
from contextlib import ExitStack
from threading import Thread

import serve_gpu
from serve_gpu_asked import Asked
from serve_gpu_followed import DEPLOYMENT, SERVER, STORAGE, follow, followed, start
from serve_gpu_processes import Place
from serve_gpu_sglang import RESERVED as FOR_SGLANG
from serve_gpu_sglang import compare_with_sglang, is_installed
from serve_gpus_compared import (
    FEW,
    FEW_LONG,
    LONG,
    OURS,
    PLAIN,
    SHORT,
    compare_with_transformers,
    load_in_turn,
    ready,
    servers,
)
from serve_gpus_tensor import stop_all
from serve_gpus_trained import ask_tuned, compare_with_trainer, compare_with_trainers_model, trained, tune

TURNS = (OURS, PLAIN, OURS, PLAIN)
LOADS = [(name, load) for load in (FEW, FEW_LONG) for name in TURNS]
LOADS += 2 * [(name, load) for load in (SHORT, LONG) for name in (OURS, PLAIN)]
BASE, TUNED = (OURS, "full", "base"), ("tuned", "tuned", "trained")
OF_TRAINER = [BASE, TUNED]
OF_TRANSFORMERS = [BASE, TUNED, ("tuned", "tuned", "merged"), (SERVER, DEPLOYMENT, "base")]
READ_SECONDS = 180


def beside(place: Place, tuned: Asked) -> list[Thread]:
    """A server that follows its job, and the trained job's model, each until it has answered."""
    live = start(place)
    steps = {"followed": lambda: follow(place, live), "tuned": lambda: ask_tuned(place, tuned)}
    threads = [Thread(target=place.attempt, args=each) for each in steps.items()]
    for thread in threads:
        thread.start()
    return threads


def compare(place: Place) -> None:
    """What was answered, with the trainer and with transformers."""
    if trained(place):
        place.attempt("trainer", lambda: compare_with_trainers_model(place, OF_TRAINER))
    adapters = followed(place)
    answers = [*OF_TRANSFORMERS, *((SERVER, name, name) for name in adapters)]
    more = [word for name, folder in adapters.items() for word in ("--unmerged", f"{name}={folder}")]
    place.attempt("reference", lambda: compare_with_transformers(place, answers, *more, seconds=READ_SECONDS))


def main() -> int:
    place = Place(serve_gpu._parse_arguments())
    place.prewarm()
    place.attempt("base", lambda: serve_gpu.write_base(place, (OURS, PLAIN, STORAGE)))
    with ExitStack() as everything:
        tuned = tune(place)
        threads = beside(place, tuned)
        found = servers(place)
        loaded = {name: everything.enter_context(found[name]) for name in (OURS, PLAIN)}
        for name, asked in loaded.items():
            place.attempt(f"{name} ready", lambda n=name, a=asked: ready(place, n, a))
        for thread in threads:
            thread.join()
        place.attempt("before training", lambda: compare_with_trainer(place, "full", loaded[OURS], 0))
        compare(place)
        there = {name: asked for name, asked in loaded.items() if asked.is_ready() and not asked.has_ended}
        reserved = FOR_SGLANG if is_installed(place) else 30
        place.attempt("loads", lambda: load_in_turn(place, there, LOADS, reserved=reserved))
        if is_installed(place):
            place.attempt("sglang", lambda: compare_with_sglang(place, there))
        stop_all(loaded)
    return 0


if __name__ == "__main__":
    sys.exit(main())
