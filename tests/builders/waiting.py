"""Waiting for a state, never for a time: on a busy machine tests are slow, and not red."""

import time
from collections.abc import Callable
from typing import Any

HANG_SECONDS = 900.0
"""Ends what hangs: many times what anything takes on a busy machine. pytest's own limit is twice this."""


def until(what: str, look: Callable[[], Any], *, timeout: float = HANG_SECONDS) -> Any:
    """The first true answer of `look`; fails naming `what` when that hangs."""
    deadline = time.monotonic() + timeout
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not seen in {timeout:.0f} s: {what}"
        time.sleep(0.05)
    return seen
