"""How long a server may take to become ready, and the probes that hold it to that."""

import math
from pathlib import Path

from finetune_operator.core.objects import Manifest

# Seconds for the interpreter, process groups, compilation and graph capture, around the loading of weights.
_OVERHEAD_SECONDS = 600
# A slow volume: NFS and object-store mounts read some hundreds of MB/s; local NVMe reads tens of times more.
_READ_BYTES_PER_SECOND = 500e6
# A served model has room in its cards; an H200 holds 141 GB. Used where no size is known.
_CARD_BYTES = 141e9

_PERIOD_SECONDS = 10
_GENERATION_SECONDS = 60

HTTP_PORT = 8000

PROBE = "FINETUNE_PROBE"
"""The variable that holds the probes' program: once in a pod, for three probes."""

PROBE_PROGRAM = (Path(__file__).parent / "generates.py").read_text(encoding="utf-8")


def startup_seconds(model_bytes: int | None, gpus: int) -> int:
    """Return the startup allowance in seconds: what the bytes take from a slow volume, and a margin."""
    return _OVERHEAD_SECONDS + reading_seconds(model_bytes, gpus)


def reading_seconds(model_bytes: int | None, gpus: int) -> int:
    """Return seconds that it takes to read a model once, from a slow volume."""
    to_read = model_bytes if model_bytes is not None else gpus * _CARD_BYTES
    return math.ceil(to_read / _READ_BYTES_PER_SECOND)


def probes(allowance_seconds: int) -> Manifest:
    """Return the container's probes: each asks for one token, the later ones of a server that may be busy."""
    return {
        "startupProbe": {
            **_generation(_GENERATION_SECONDS),
            "periodSeconds": _PERIOD_SECONDS,
            "failureThreshold": math.ceil(allowance_seconds / _PERIOD_SECONDS),
        },
        "readinessProbe": {
            **_generation(_GENERATION_SECONDS // 2, "busy"),
            "periodSeconds": 2 * _PERIOD_SECONDS,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            **_generation(_GENERATION_SECONDS, "busy"),
            "periodSeconds": 60,
            "failureThreshold": 5,
        },
    }


def _generation(seconds: int, *words: str) -> Manifest:
    """Return what runs the probe, and ends it when it is late in spite of its own timeouts."""
    command = ["python", "-c", f"import os; exec(os.environ['{PROBE}'])", str(seconds), *words]
    return {"exec": {"command": command}, "timeoutSeconds": seconds + _PERIOD_SECONDS}
