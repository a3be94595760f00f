"""How long a server may take to become ready, and the probes that hold it to that."""

import math

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

# One real generation: with wrong MLA sizes /health answers 200, and the engine dies on the first request.
_GENERATE_ONE_TOKEN = """
import json, os, urllib.request
request = urllib.request.Request(
    f"http://127.0.0.1:{os.environ['SERVING_PORT']}/v1/completions",
    data=json.dumps({"model": os.environ["SERVED_MODEL_NAME"], "prompt": "Hello", "max_tokens": 1}).encode(),
    headers={"Content-Type": "application/json", "Authorization": f"Bearer {os.environ.get('VLLM_API_KEY')}"},
)
assert json.load(urllib.request.urlopen(request))["choices"]
""".strip()


def startup_seconds(model_bytes: int | None, gpus: int) -> int:
    """Return the startup allowance in seconds: what the bytes take from a slow volume, and a margin."""
    to_load = model_bytes if model_bytes is not None else gpus * _CARD_BYTES
    return _OVERHEAD_SECONDS + math.ceil(to_load / _READ_BYTES_PER_SECOND)


def probes(allowance_seconds: int) -> Manifest:
    """Return the container's probes: started by one generation, then ready and alive by the cheap /health."""
    health = {"httpGet": {"path": "/health", "port": "http"}, "timeoutSeconds": 5}
    return {
        "startupProbe": {
            "exec": {"command": ["python", "-c", _GENERATE_ONE_TOKEN]},
            "periodSeconds": _PERIOD_SECONDS,
            "timeoutSeconds": _GENERATION_SECONDS,
            "failureThreshold": math.ceil(allowance_seconds / _PERIOD_SECONDS),
        },
        "readinessProbe": {**health, "periodSeconds": _PERIOD_SECONDS, "failureThreshold": 3},
        "livenessProbe": {**health, "periodSeconds": 30, "failureThreshold": 6},
    }
