"""Ends when the leader's processes have: run by the kubelet in a worker's container before that is stopped.

    python outlives.py PORT

All pods of a group are told to stop at once, and the leader then completes its open requests: the others are
there until it has. The kubelet's grace period ends what never does.

Standard library only.
"""

import os
import socket
import sys
import time

_PERIOD_SECONDS = 1.0


def main(leader: str, port: int) -> None:
    """Return when nobody listens at the leader any more."""
    while _listens(leader, port):
        time.sleep(_PERIOD_SECONDS)


def _listens(leader: str, port: int) -> bool:
    try:
        socket.create_connection((leader, port), timeout=_PERIOD_SECONDS).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main(os.environ["LWS_LEADER_ADDRESS"], int(sys.argv[1]))
