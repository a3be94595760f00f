"""Ends with 0 when the server beside it generates: run by the kubelet in the server's container.

    python generates.py SECONDS [busy]

A dead or stuck engine leaves /health at 200, so that only a generation tells. With `busy`, one that does not
come in time is no failure while the engine's counters of tokens rise: it has much to do.

Standard library only.
"""

import http.client
import json
import os
import re
import sys
import urllib.error
import urllib.request

# The container's proxies are for the way out.
_OPEN = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
_URL = f"http://127.0.0.1:{os.environ.get('SERVING_PORT')}"


def main(seconds: float, *, busy: bool) -> bool:
    """Return whether the server is to be taken for one that generates."""
    if not busy:
        return _generates(seconds)
    _OPEN(f"{_URL}/health", timeout=seconds)  # raises for 503, a dead engine
    before = _tokens(seconds)
    try:
        return _generates(seconds)
    except OSError:  # too late, or refused as its queue is full
        after = _tokens(seconds)
        return before is None or after is None or after > before


def _generates(seconds: float) -> bool:
    asked = {"model": os.environ["SERVED_MODEL_NAME"], "prompt": "Hello", "max_tokens": 1}
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {os.environ.get('VLLM_API_KEY')}",
    }
    request = urllib.request.Request(f"{_URL}/v1/completions", json.dumps(asked).encode(), headers)
    with _OPEN(request, timeout=seconds) as answer:
        return bool(json.load(answer)["choices"])


def _tokens(seconds: float) -> float | None:
    """Return the tokens read and written so far; None where the server counts none."""
    try:
        with _OPEN(f"{_URL}/metrics", timeout=seconds) as answer:
            text = answer.read().decode()
    except urllib.error.HTTPError:
        return None
    counts = re.findall(r"^vllm:(?:prompt|generation)_tokens_total\S* (\S+)$", text, re.MULTILINE)
    return sum(map(float, counts)) if counts else None


if __name__ == "__main__":
    try:
        sys.exit(not main(float(sys.argv[1]), busy="busy" in sys.argv))
    except (OSError, http.client.HTTPException, ValueError) as error:
        sys.exit(f"the server does not generate: {error}")
