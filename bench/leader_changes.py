"""How long nobody leads when the leader ends, dies or freezes, with the times that the chart sets."""

import argparse
import itertools
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/controlplane/operator"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/controlplane"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/builders"))

from cluster.controlplane import running
from cluster.operator_pod import OperatorPod
from kubernetes import client
from replicas import Replica, leader_of, replicas_of
from waiting import until

from api_server_away import operator
from report import write_report

PACKAGES = ("finetune-operator", "kopf", "kubernetes")
WAYS = {"ends": Replica.end, "dies": Replica.kill, "freezes": Replica.freeze}


def main() -> None:
    parser = argparse.ArgumentParser(prog="leader_changes", description=__doc__)
    parser.add_argument("--changes", type=int, default=100)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="finetune-leaders-") as folder,
        running(Path(folder)) as plane,
        operator(plane) as pod,
        plane.api_client() as api,
    ):
        figures = changes(api, pod, options.changes)
    write_report("leader-changes", figures, packages=PACKAGES)


def changes(api: client.ApiClient, pod: OperatorPod, number: int) -> dict[str, Any]:
    """Seconds from the leader's end until the Lease is another's."""
    seconds: dict[str, list[float]] = defaultdict(list)
    with pod.paused(), replicas_of(pod, 2, times={}) as replicas:
        for way in itertools.islice(itertools.cycle(WAYS), number):
            for replica in replicas:
                replica.until_ready()
            leader = until("a leader", lambda: leader_of(api, replicas))
            began = time.monotonic()
            WAYS[way](leader)
            until_another(api, replicas, leader)
            seconds[way].append(round(time.monotonic() - began, 1))
            leader.start_again()
    return {
        way: {"changes": len(found), "median": sorted(found)[len(found) // 2], "most": max(found)}
        for way, found in seconds.items()
    }


def until_another(api: client.ApiClient, replicas: list[Replica], before: Replica) -> None:
    until("another leader", lambda: leader_of(api, replicas) not in (None, before))


if __name__ == "__main__":
    main()
