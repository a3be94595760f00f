"""Thousands of FineTuneJobs that are there and finished: what an operator takes to start, and a storm then.

One job goes through all its stages; the others are copies of all its objects, made while no controller runs.
"""

import argparse
import os
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "load"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/controlplane"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/builders"))

import isolation
from audit import AuditedControlPlane, AuditLog
from cluster import binaries
from cluster.commands import runner
from cluster.operator_pod import OperatorPod
from contenders import OPERATOR, fine_tune_job
from copies import Copies
from latency import percentiles, request_counts
from loads import Loads
from prometheus_client.parser import text_string_to_metric_families
from usage import usage_of
from waiting import until

from report import write_report

_CONTROLLERS = ("kwok", "kube-scheduler", "kube-controller-manager")
_MOST_SECONDS = 600


def main() -> None:
    parser = argparse.ArgumentParser(prog="many_jobs", description=__doc__)
    parser.add_argument("--finished", type=int, default=9000, help="FineTuneJobs that are complete")
    parser.add_argument("--storm", type=int, default=1000, help="those that are then applied at once")
    parser.add_argument("--idle-seconds", type=float, default=60)
    parser.add_argument("--nodes", type=int, help="nodes of eight GPUs; by default what the storm needs")
    options = parser.parse_args()
    binaries.build()
    isolation.enter()
    with tempfile.TemporaryDirectory(prefix="finetune-many-") as folder:
        nodes = options.nodes or options.storm // 2 + 4
        plane = AuditedControlPlane(folder=Path(folder), gpu_nodes=nodes, users=(OPERATOR,))
        try:
            plane.start()
            write_report("many-jobs", _measure(plane, options), packages=("kopf", "kubernetes"))
        finally:
            plane.stop()


def _measure(plane: AuditedControlPlane, options: argparse.Namespace) -> dict[str, Any]:
    kubectl, log = runner(binaries.find("kubectl"), plane.kubeconfig), AuditLog(file=plane.audit_log)
    helm = runner(binaries.find("helm"), plane.kubeconfig)
    with plane.api_client() as api:
        contender, operator = fine_tune_job(plane, kubectl, helm)
        loads = Loads(plane=plane, api=api, log=log, contender=contender)
        try:
            loads.idle(2, 1)
            with operator.paused():
                for name in _CONTROLLERS:
                    plane.processes[name].kill()
                copied = Copies(api=api, namespace="finetunejobs-idle", parent="job-0").write(
                    options.finished
                )
            # A hash is of a child with its name: copies are applied once more, and then are as wanted.
            _start(operator, options.finished)
            with operator.paused():
                mark = log.mark()
            there = {"finished": options.finished, "objectsOfEach": copied}
            there |= _start(operator, options.finished)
            loads.until_quiet()  # kopf's own lists and the first resync
            settled = log.mark()
            time.sleep(options.idle_seconds)
            idle = request_counts(contender, log.since(settled), 1)["each"]
            asked = request_counts(contender, log.since(mark), 1)["each"]
            there |= {
                "idleSeconds": options.idle_seconds,
                "idleRequests": idle,
                "requestsFromTheStart": asked,
                "leaseSeconds": _lease_seconds(log, mark),
            }
            there |= {"idle": _memory(operator)}
            if not options.storm:
                return there
            for name in reversed(_CONTROLLERS):
                plane.start_process(name)
            mark = log.mark()
            storm = loads.train(options.storm, deletes=False)
            there |= {"storm": storm, "afterTheStorm": _memory(operator)}
            return there | {"leaseSecondsInTheStorm": _lease_seconds(log, mark), "starts": operator.starts}
        finally:
            operator.stop()


def _start(operator: OperatorPod, jobs: int) -> dict[str, Any]:
    """Wait until every job was reconciled once; return after how many seconds the first and the last was."""
    until("the operator", lambda: operator.process)
    began, first = time.monotonic(), 0.0
    while (done := _reconciles(operator)) < jobs:
        now = time.monotonic() - began
        first = first or (now if done else 0.0)
        assert now < _MOST_SECONDS, f"{done} of {jobs} reconciled"
        time.sleep(0.5)
    return {
        "firstReconcileAfterSeconds": round(first or time.monotonic() - began, 1),
        "allReconciledAfterSeconds": round(time.monotonic() - began, 1),
        "started": _memory(operator),
        "loadAverage": round(os.getloadavg()[0], 1),
    }


def _reconciles(operator: OperatorPod) -> float:
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{operator.metrics_port}/metrics?name[]=finetune_reconcile_total", timeout=10
        ) as page:
            families = text_string_to_metric_families(page.read().decode())
            return sum(
                sample.value
                for family in families
                for sample in family.samples
                if sample.name == "finetune_reconcile_total"
            )
    except OSError:
        return 0


def _lease_seconds(log: AuditLog, mark: int) -> dict[str, float]:
    """How long the API server took to renew the leader's Lease, which lasts ten seconds without."""
    renewed = [each for each in log.since(mark) if each.resource == "leases" and each.user == OPERATOR]
    return percentiles(each.answered - each.received for each in renewed)


def _memory(operator: OperatorPod) -> dict[str, float]:
    assert operator.process
    usage = usage_of(operator.process.pid)
    return {
        "rssMB": round(usage.rss_bytes / 1e6, 1),
        "peakRssMB": round(usage.peak_rss_bytes / 1e6, 1),
        "cpuSeconds": round(usage.cpu_seconds, 1),
    }


if __name__ == "__main__":
    main()
