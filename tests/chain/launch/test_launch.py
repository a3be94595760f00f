"""Real torchrun agents: what they end with is the first worker's true failure."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from waiting import HANG_SECONDS, until

pytestmark = pytest.mark.chain
HERE = Path(__file__).parent
GOLDEN = HERE.parents[1] / "golden" / "run" / "quickstart.json"


@dataclass
class Ended:
    exit_code: int
    error: str
    termination: dict[str, str]


class Agents:
    """Agents of one run on this machine, each with its own termination log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *, nodes: int = 1, processes: int = 2, ends: str = "") -> "Agents":
        run = json.loads(GOLDEN.read_text())
        run["workers"] |= {"nodes": nodes, "processesPerNode": processes}
        (self.folder / "run.json").write_text(json.dumps(run))
        environment = {**os.environ, "ENDS": ends, "READY": str(self.folder), "OMP_NUM_THREADS": "1"}
        environment |= {"PYTHONPATH": str(HERE), "PYTHONUNBUFFERED": "1"}
        if nodes > 1:
            environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        # The last node first: numbers must come from NODE_RANK and not from who is early.
        for node in reversed(range(nodes)):
            self.processes.insert(0, self._start(node, environment))
            time.sleep(0.5 if nodes > 1 else 0)
        return self

    def _start(self, node: int, environment: dict[str, str]) -> "subprocess.Popen[str]":
        own = {"NODE_RANK": str(node), "FINETUNE_TERMINATION_LOG": str(self.folder / f"termination-{node}")}
        command = [sys.executable, str(HERE / "agent.py"), str(self.folder / "run.json"), str(self.folder)]
        return subprocess.Popen(command, env=environment | own, stderr=subprocess.PIPE, text=True)

    def wait_until_ready(self, ranks: int) -> None:
        until("the workers", lambda: all((self.folder / str(rank)).exists() for rank in range(ranks)))

    def wait(self) -> list[Ended]:
        ended = []
        for node, process in enumerate(self.processes):
            _, error = process.communicate(timeout=HANG_SECONDS)
            log = self.folder / f"termination-{node}"
            ended.append(
                Ended(process.returncode, error, json.loads(log.read_text()) if log.exists() else {})
            )
        return ended


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def agents(tmp_path):
    agents = Agents(tmp_path)
    yield agents
    for process in agents.processes:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_two_nodes_meet_and_rank_0_is_on_node_0(agents, tmp_path):
    assert [end.exit_code for end in agents.start(nodes=2, processes=1).wait()] == [0, 0]
    places = [(tmp_path / f"rank-{rank}").read_text() for rank in range(2)]
    assert places == ["node 0 rank 0 of 2", "node 1 rank 1 of 2"]


@pytest.mark.parametrize(
    ("ends", "exit_code", "reason", "message"),
    [
        pytest.param("1:oom,0:collective", 10, "OutOfMemory", "the GPU is full", id="its-peer-loses-it"),
        pytest.param("0:crash,1:collective", 1, "Unexpected", "KeyError: 'wrong'", id="a-defect"),
        pytest.param("1:exit,0:collective", 1, "Unexpected", "ended with exit code 7", id="no-record"),
        pytest.param("1:kill,0:collective", 10, "OutOfMemory", "was killed (SIGKILL)", id="killed"),
    ],
)
def test_the_first_failure_is_told(agents, ends, exit_code, reason, message):
    (end,) = agents.start(ends=ends).wait()
    assert end.exit_code == exit_code
    assert end.termination["reason"] == reason
    assert message in end.termination["message"]
    assert f"error: {end.termination['message']}" in end.error
    assert end.error.count("error: ") == 1
    assert "ChildFailedError" not in end.error.splitlines()[-1]


def test_a_defect_shows_its_traceback(agents):
    (end,) = agents.start(ends="0:crash").wait()
    assert 'raise KeyError("wrong")' in end.error


@pytest.mark.parametrize(
    ("ends", "exit_code", "message"),
    [
        pytest.param("0:wait,1:wait", 143, "stopped by SIGTERM after saving step 3", id="saved"),
        pytest.param("0:full,1:wait", 13, "no space left on the volume", id="could-not-save"),
    ],
)
def test_sigterm_reaches_the_workers_and_their_end_is_told(agents, ends, exit_code, message):
    agents.start(ends=ends).wait_until_ready(2)
    agents.processes[0].send_signal(signal.SIGTERM)
    (end,) = agents.wait()
    assert end.exit_code == exit_code
    assert end.termination["message"] == message
    assert end.termination["message"] in end.error


def test_a_node_that_lost_its_peer_says_so_and_the_cause_is_told_where_it_is(agents):
    first, second = agents.start(nodes=2, processes=1, ends="0:oom,1:collective").wait()
    assert (first.exit_code, first.termination["reason"]) == (10, "OutOfMemory")
    assert (second.exit_code, second.termination["reason"]) == (11, "PeerLost")


def test_an_agent_that_vanishes_is_lost_communication(agents):
    agents.start(nodes=2, processes=1, ends="0:wait,1:wait").wait_until_ready(2)
    os.kill(agents.processes[0].pid, signal.SIGKILL)
    # Its worker ends too: the stderr that they share is closed.
    gone, end = agents.wait()
    assert gone.exit_code == -signal.SIGKILL
    assert end.exit_code == 11
    assert "cannot be reached at 127.0.0.1" in end.termination["message"]
