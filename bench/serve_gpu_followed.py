"""A server of the operator that follows a job that trains on the same GPU, from checkpoint to checkpoint.

Chats go on meanwhile. What it answers is kept by the adapter that it tells it has, for
`serve_gpu_reference.py`.
"""

import json
import time
import urllib.request
from pathlib import Path
from threading import Event, Thread
from typing import Any

import serve_gpu_manifests as manifests
from serve_gpu_ask import Server
from serve_gpu_asked import Asked
from serve_gpu_processes import Place
from serve_gpus_trained import SMALL, losses, questions

STORAGE = SERVER = DEPLOYMENT = "followed"
LIVE = "live"
"""The job, its adapter's name at the server, and of the adapters that it had the one that is trained."""
# More than three minutes of training: the server starts at the first checkpoint, and takes one of them.
STEPS, INTERVAL = 4800, 400
READY_SECONDS, TRAINED_SECONDS = 420, 240


def start(place: Place, steps: int = STEPS, interval: int = INTERVAL) -> Asked:
    """One `finetune run` of the job and of the server."""
    checkpoints = {"interval": interval, "keep": -(-steps // interval), "adapters": True}
    job = manifests.job_manifest(
        place.scratch,
        {"steps": steps, "learningRate": 0.0003, "checkpoint": checkpoints},
        name=LIVE,
        model={"uri": "models/base", "verify": False},
        lora={"rank": 16, "targets": ["served_attention"]},
        export={"adapterOnly": True},
    )
    adapter = {"name": LIVE, "fineTuneJobRef": {"name": LIVE}, "checkpoint": "latest"}
    server = manifests.serve_manifest(
        place.scratch, DEPLOYMENT, uri="models/base", arguments=SMALL, adapters=[adapter]
    )
    process = place.finetune(SERVER, job, server, storage=STORAGE)
    return place.deployed(SERVER, process, STORAGE, DEPLOYMENT)


def follow(place: Place, asked: Asked) -> None:
    """Ask it after each adapter, until it has the trained one; then end both."""
    try:
        asked.wait(READY_SECONDS)
        place.keep(f"{SERVER} ready", asked.figures())
        asked.answer(DEPLOYMENT)
        over, chats = Event(), Chats(asked)
        thread = Thread(target=chats.until, args=(over,))
        thread.start()
        try:
            _follow(place, asked)
        finally:
            over.set()
            thread.join()
            place.keep("chats while it followed", chats.told())
            place.keep("the job that it followed", losses(place, STORAGE, LIVE))
            place.keep("its status", _status(place))
    finally:
        asked.stop()


def _follow(place: Place, asked: Asked) -> None:
    deadline, before = time.monotonic() + min(TRAINED_SECONDS, place.left()), ""
    while adapter_name(before) != LIVE:
        if time.monotonic() > deadline or asked.has_ended:
            raise RuntimeError(f"{before or 'no adapter'} was the last one that it had")
        if (path := served_path(asked)) not in ("", before):
            before = path
            _ask(place, asked, path)
        time.sleep(0.2)


def _ask(place: Place, asked: Asked, path: str) -> None:
    """Its answers are kept only if it had this adapter until the last one."""
    file, name = place.storage(STORAGE) / path / "adapter_model.safetensors", adapter_name(path)
    figures: dict[str, Any] = {"secondsSinceWritten": round(time.time() - file.stat().st_mtime, 1)}
    asked.answer(LIVE, name)
    figures["replacedMeanwhile"] = served_path(asked) != path
    if not figures["replacedMeanwhile"]:
        (place.scratch / f"served-{name}").symlink_to(file.parent)
    place.keep(f"followed to {name}", figures)


def followed(place: Place) -> dict[str, Path]:
    """The adapters of which there are answers, by their names; the trained one comes last."""
    found = {file.name.removeprefix("served-"): file for file in place.scratch.glob("served-*")}
    return {name: found[name] for name in sorted(found, key=lambda name: (name == LIVE, _step(name)))}


def _step(name: str) -> int:
    return int(name.removeprefix("step-")) if name.startswith("step-") else 0


def served_path(asked: Asked) -> str:
    """Of the adapter that the server tells it has; empty where it has none."""
    with urllib.request.urlopen(f"{asked.url()}/adapters", timeout=30) as answer:
        told = json.load(answer)["adapters"]
    return next((each["path"] for each in told if each["name"] == LIVE), "")


def adapter_name(path: str) -> str:
    """Of a checkpoint's adapter step-N."""
    if not path:
        return ""
    return Path(path).parent.name if "/checkpoints/" in path else LIVE


def _status(place: Place) -> str:
    return (place.storage(STORAGE) / f"status/default/modeldeployment/{DEPLOYMENT}.yaml").read_text()


class Chats:
    """The same question to the adapter, again and again, as a user of it would ask."""

    def __init__(self, asked: Asked) -> None:
        self._server, self._started = Server(asked.url(), LIVE), time.monotonic()
        self._answered, self._failed = 0, list[str]()
        self._answers: list[tuple[float, str]] = []

    def until(self, over: Event) -> None:
        while not over.wait(0.2):
            try:
                self._heard(self._server.chat(questions()[0])["answer"])
            except (OSError, ValueError, KeyError) as error:
                self._failed.append(f"{type(error).__name__}: {error}"[:300])

    def _heard(self, answer: str) -> None:
        self._answered += 1
        if not self._answers or self._answers[-1][1] != answer:
            self._answers.append((round(time.monotonic() - self._started, 1), answer))

    def told(self) -> dict[str, Any]:
        """How many were answered, how many failed and why, and each answer that was not the one before."""
        failed = {"failed": len(self._failed), "why": self._failed[:5]}
        return {"answered": self._answered, **failed, "answersThatChanged": self._answers}
