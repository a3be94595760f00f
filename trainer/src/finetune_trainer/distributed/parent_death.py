"""A process that does not outlive the one that started it, however that ends."""

import ctypes
import signal
import sys

# prctl(2), linux/prctl.h
_PR_SET_PDEATHSIG = 1


def end_with_parent(number: signal.Signals) -> None:
    """Have this process receive a signal when its parent dies (Linux; nothing elsewhere)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
