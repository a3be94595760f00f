"""Waiting for the cluster to come to what a test expects."""

import time
from collections.abc import Callable
from typing import Any


def until(what: str, look: Callable[[], Any], *, timeout: float = 60) -> Any:
    """The first true answer of `look`; fails naming `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not seen in {timeout:.0f} s: {what}"
        time.sleep(0.1)
    return seen
