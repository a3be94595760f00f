"""The operator's server and `vllm serve` in turn, half a minute a load, on the GPUs that there are.

`python bench/serve_gpus_compared.py --scratch /dev/shm/serve --envs ENVS`: of the base of serve_gpu.py.
Beside the servers that are loaded a job is trained and its model served, and adapters of single modules are;
these end before the first load. One GPU has room for no adapters.
"""

import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from threading import Thread
from typing import Any

import serve_gpu
import serve_gpu_manifests as manifests
from finetune_operator.serving.server_requests import ServerRequests, parse_metrics
from serve_gpu import BENCH
from serve_gpu_asked import Asked
from serve_gpu_processes import Place
from serve_gpus_tensor import stop_all
from serve_gpus_trained import (
    CARDS,
    ROOM,
    TENSOR,
    adapters,
    ask_adapted,
    ask_plain_adapters,
    ask_tuned,
    compare_with_trainer,
    operators_adapters,
    plain_adapters,
    trained,
    tune,
    write_adapters,
)

# The operator's server, `vllm serve` by hand, and that with four processes of the API.
OURS, PLAIN, MANY = "operator", "plain", "many"
Load = tuple[int, tuple[int, int]]
"""So many at a time, of so many tokens in and out."""
FEW, SHORT, LONG = (4, (512, 128)), (64, (512, 128)), (64, (4096, 512))
FEW_LONG = (4, (4096, 512))
LOADS = [
    *((name, SHORT) for name in (OURS, PLAIN, OURS, PLAIN)),
    *((name, LONG) for name in (OURS, PLAIN, OURS, PLAIN)),
    (MANY, SHORT),
    *((name, FEW) for name in (OURS, PLAIN, OURS, PLAIN)),
    *((name, SHORT) for name in (MANY, OURS, PLAIN)),
    *((name, LONG) for name in (OURS, PLAIN)),
]
SECONDS = 31
# Tokens a second, by which the first load of a kind is sized; those that follow by what it took.
EXPECTED = {FEW: 1400, FEW_LONG: 1400, SHORT: 9000 * CARDS, LONG: 8000 * CARDS}
PARTS = 4
"""Processes that ask at a time: one is about as fast as a server."""
RESERVED = 65
"""Seconds for the reference."""
ANSWERS = [
    ("operator", "full", "base"),
    ("adapted", "o", "o_proj"),
    ("adapted", "experts", "experts"),
    ("beside", "kv-b", "kv_b_proj"),
    ("beside", "o", "o_proj"),
    ("tuned", "tuned", "merged"),
    ("tuned", "tuned", "trained"),
]


def servers(place: Place) -> dict[str, AbstractContextManager[Asked]]:
    """Those that are loaded."""
    spec: dict[str, Any] = {"uri": "models/base", "arguments": ROOM, "tensorParallelSize": CARDS}
    file = manifests.serve_manifest(place.scratch, "full", **spec)
    many = ["--api-server-count", str(PARTS)]
    return {
        OURS: place.served(OURS, file, storage=OURS, deployment="full"),
        PLAIN: place.plain(PLAIN, place.storage(PLAIN) / "models/base", [*TENSOR, *ROOM]),
        MANY: place.plain(MANY, place.storage(MANY) / "models/base", [*TENSOR, *ROOM, *many]),
    }


def beside(place: Place) -> None:
    """What answers before the first load: the adapters' servers, and after the training the job's model."""
    tuned = tune(place)
    place.attempt("adapters", lambda: write_adapters(place))
    asked: dict[str, Callable[[], None]] = {
        "adapted": lambda: ask_adapted(place, operators_adapters(place)),
        "beside": lambda: ask_plain_adapters(plain_adapters(place)),
    }
    threads = [Thread(target=place.attempt, args=each) for each in asked.items() if CARDS > 1]
    for thread in threads:
        thread.start()
    place.attempt("tuned", lambda: ask_tuned(place, tuned))
    for thread in threads:
        thread.join()


def ready(place: Place, name: str, asked: Asked) -> None:
    asked.wait(300)
    place.keep(f"{name} ready", asked.figures())
    asked.chat()
    if name == OURS:
        asked.answer("full")


def load_in_turn(
    place: Place,
    loaded: dict[str, Asked],
    loads: Sequence[tuple[str, Load]] = LOADS,
    seconds: int = SECONDS,
    reserved: int = RESERVED,
) -> None:
    """Each load about as long; none that would take the time that is reserved."""
    counts = {(name, load): EXPECTED[load] * seconds // load[1][1] for name, load in loads}
    for turn, (name, load) in enumerate(loads):
        if name not in loaded or place.left() < reserved + seconds + 10:
            place.keep(f"load {turn} left out", [name, load, place.left()])
            continue
        told = _load(place, turn, name, loaded[name], load, counts[name, load])
        counts[name, load] = round(counts[name, load] * seconds / max(part["seconds"] for part in told))


def _load(place: Place, turn: int, name: str, asked: Asked, load: Load, count: int) -> list[Any]:
    many, tokens = load
    parts = PARTS if many > PARTS else 1
    before = requests(asked)
    with ThreadPoolExecutor(parts) as threads:
        told = list(threads.map(lambda _: asked.bench(many // parts, tokens, count // parts), range(parts)))
    figures = {"server": name, "load": load, "parts": told, "counted": _counted(before, requests(asked))}
    place.keep(f"load {turn}", figures)
    return told


def requests(asked: Asked) -> ServerRequests:
    """What a canary would be judged by, read as the operator does; nothing of a server that tells nothing."""
    try:
        with urllib.request.urlopen(f"{asked.url()}/metrics", timeout=30) as answer:
            return parse_metrics(answer.read())
    except urllib.error.HTTPError:
        return ServerRequests()


def _counted(before: ServerRequests, after: ServerRequests) -> dict[str, Any]:
    """Of one load."""
    answered = {name: count - before.answered.get(name, 0) for name, count in after.answered.items()}
    first = {bound: count - before.first_tokens.get(bound, 0) for bound, count in after.first_tokens.items()}
    counted = ServerRequests(answered=answered, failed=after.failed, first_tokens=first)
    return {
        "answered": answered,
        "errorPercent": counted.error_percent,
        "firstTokenWithin": {share: counted.first_token_within(share) for share in (0.5, 0.9, 0.95)},
    }


def compare_with_transformers(
    place: Place, answers: Sequence[tuple[str, str, str]], *more: object, seconds: float = 120
) -> None:
    """What was served, against transformers in float32: merged, and the adapter beside the base.

    more: its arguments.
    """
    base = place.storage("tuned") / "models/base"
    options: list[object] = ["--base", base, "--merged", base]
    if (run := trained(place)) and (run / "merged").exists():
        options = ["--base", base, "--merged", run / "merged", "--unmerged", f"trained={run / 'adapter'}"]
    options += ["--tokens", place.tokens, *more]
    command = [sys.executable, BENCH / "serve_gpu_reference.py", *options, *place.answered(answers)]
    place.compared("reference", command, place.scratch / "reference.json", seconds)


def main() -> int:
    place = Place(serve_gpu._parse_arguments())
    place.prewarm()
    place.attempt("base", lambda: serve_gpu.write_base(place, (OURS, PLAIN, MANY, "adapted")))
    with ExitStack() as everything:
        loaded = {name: everything.enter_context(each) for name, each in servers(place).items()}
        beside(place)
        for name, asked in loaded.items():
            place.attempt(f"{name} ready", lambda n=name, a=asked: ready(place, n, a))
        place.attempt("before training", lambda: compare_with_trainer(place, "full", loaded[OURS], 0))
        there = {name: asked for name, asked in loaded.items() if asked.is_ready()}
        place.attempt("loads", lambda: load_in_turn(place, there))
        if CARDS == 1:  # no room for a layer in float32 beside them
            stop_all(loaded)
        # Otherwise beside servers that are idle: their end takes longer than the comparison.
        parts = ("--adapter", place.scratch / "by-hand", "--experts", adapters(place) / "experts")
        place.attempt("reference", lambda: compare_with_transformers(place, ANSWERS, *parts))
        stop_all(loaded)
    return 0


if __name__ == "__main__":
    sys.exit(main())
