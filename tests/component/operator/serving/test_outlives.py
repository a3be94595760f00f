"""The program that keeps a worker while its leader is there, run as the kubelet runs it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from finetune_operator import serving

PROGRAM = (Path(serving.__file__).parent / "outlives.py").read_text(encoding="utf-8")


def test_it_ends_when_nobody_listens_any_more() -> None:
    with socket.create_server(("127.0.0.1", 0)) as leader:
        port = str(leader.getsockname()[1])
        worker = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, port], env={**os.environ, "LWS_LEADER_ADDRESS": "127.0.0.1"}
        )
        for _ in range(2):
            leader.accept()[0].close()
        assert worker.poll() is None
    assert worker.wait() == 0
