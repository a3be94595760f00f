"""What the operator asks of a real API server as it starts, by the audit log, and its connections."""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "load"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/controlplane"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/builders"))

import isolation
from audit import AuditedControlPlane, AuditLog, Request
from cluster import binaries
from cluster.commands import Run, runner
from cluster.operator_pod import OperatorPod
from contenders import OPERATOR, fine_tune_job
from loads import Loads
from usage import usage_of
from waiting import until

from finetune_operator.kube.resources import WATCHED
from report import write_report

# The first resync is after 15.
WATCHED_SECONDS = 30
ONE_NODE = {"workers": {"device": "cpu"}}


def main() -> None:
    parser = argparse.ArgumentParser(prog="operator_start", description=__doc__)
    parser.add_argument("--jobs", type=int, default=500, help="FineTuneJobs that are there, each with a pod")
    options = parser.parse_args()
    binaries.build()
    isolation.enter()
    with tempfile.TemporaryDirectory(prefix="finetune-start-") as folder:
        plane = AuditedControlPlane(folder=Path(folder), gpu_nodes=8, users=(OPERATOR,))
        try:
            plane.start()
            write_report("operator-start", _measure(plane, options.jobs), packages=("kopf", "kubernetes"))
        finally:
            plane.stop()


def _measure(plane: AuditedControlPlane, jobs: int) -> dict[str, Any]:
    kubectl, log = runner(binaries.find("kubectl"), plane.kubeconfig), AuditLog(file=plane.audit_log)
    with plane.api_client() as api:
        contender, operator = fine_tune_job(plane, kubectl, runner(binaries.find("helm"), plane.kubeconfig))
        loads = Loads(plane=plane, api=api, log=log, contender=contender)
        try:
            loads.there(jobs, ONE_NODE)
            with operator.paused():
                mark = log.mark()
            until("the operator", lambda: operator.process)
            time.sleep(WATCHED_SECONDS)
            return _figures(log.since(mark), kubectl, operator) | {"jobs": jobs}
        finally:
            operator.stop()


def _figures(requests: list[Request], kubectl: Run, operator: OperatorPod) -> dict[str, Any]:
    assert operator.process
    pid = operator.process.pid
    asked = Counter((each.verb, each.resource) for each in requests if each.user == OPERATOR)
    return {
        "lists": {resource: n for (verb, resource), n in sorted(asked.items()) if verb == "list"},
        "others": {f"{v} {r}": n for (v, r), n in sorted(asked.items()) if v != "list"},
        "aListMB": {
            each.plural: round(
                len(kubectl("get", "--raw", _path(each.path(), each.label_selector)).stdout) / 1e6, 2
            )
            for each in WATCHED
        },
        "connections": _connections(pid),
        "cpuSeconds": round(usage_of(pid).cpu_seconds, 2),
        "rssMB": round(usage_of(pid).rss_bytes / 1e6, 1),
        "loadAverage": round(os.getloadavg()[0], 1),
    }


def _path(path: str, selector: str) -> str:
    return f"{path}?labelSelector={selector}" if selector else path


def _connections(pid: int) -> int:
    """Established ones that this process opened: those to the API server."""
    links = (os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink())
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    return sum(fields[3] == "01" and fields[9] in inodes for fields in (line.split() for line in lines))


if __name__ == "__main__":
    main()
