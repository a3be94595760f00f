"""Hundreds of jobs at once on a real control plane with fake nodes: FineTuneJobs, and Kubeflow's TrainJobs.

Everything runs on this machine, the control plane too. Times are the API server's, from its audit log.
"""

import argparse
import math
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests/controlplane"))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests/builders"))

import isolation
import kubeflow
from audit import AuditedControlPlane, AuditLog
from cluster import binaries
from cluster.commands import runner
from contenders import NODES, OPERATOR, fine_tune_job, train_job
from kubernetes import client
from loads import Loads
from waiting import until

from report import write_report

PACKAGES = ("finetune-operator", "kopf", "kubernetes")
# Of FineTuneJobs. Between the two of the first, preparation takes its own time.
TARGETS = {"p99 of apply to Job and of Job to Job, together, s": 2, "requests a job": 40, "idle RSS, MB": 300}


def main() -> None:
    parser = argparse.ArgumentParser(prog="load", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200, help="of 4 pods with a GPU each")
    parser.add_argument("--per-second", type=float, nargs="*", default=[10])
    parser.add_argument("--idle-jobs", type=int, default=1000, help="half complete, half suspended")
    parser.add_argument("--idle-seconds", type=float, default=60)
    parser.add_argument("--only-ours", action="store_true", help="leave Kubeflow out")
    options = parser.parse_args()
    # Before the network goes.
    binaries.build()
    if not options.only_ours:
        kubeflow.build()
    isolation.enter()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="finetune-load-") as folder:
        plane = AuditedControlPlane(
            folder=Path(folder), gpu_nodes=_gpu_nodes(options.jobs), users=(OPERATOR, *kubeflow.USERS)
        )
        try:
            plane.start()
            report.figures |= {"nodes": plane.gpu_nodes, "targets": TARGETS}
            with plane.api_client() as api:
                _measure(plane, api, options, report)
        finally:
            plane.stop()
    sys.exit(f"error: {', '.join(report.failed)} failed" if report.failed else 0)


def _gpu_nodes(jobs: int) -> int:
    """A fifth more than the GPUs asked for: pods of a FineTuneJob do not share a node, which may not pack."""
    return max(2 * NODES, math.ceil(1.2 * jobs * NODES / 8))


@dataclass(kw_only=True)
class Report:
    """Written after each part: what was measured stays when a later part fails."""

    figures: dict[str, Any] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def add(self, contender: str, part: str, measure: Callable[[], Any]) -> None:
        start = time.monotonic()
        with self.surviving(f"{contender} {part}"):
            self.figures.setdefault(contender, {})[part] = measure()
        print(f"{contender} {part}: {time.monotonic() - start:.0f} s", flush=True)
        self.figures |= {"failed": self.failed} if self.failed else {}
        write_report("load", self.figures, packages=PACKAGES)

    @contextmanager
    def surviving(self, part: str) -> Iterator[None]:
        """A part that fails is named; the parts after it are measured all the same."""
        try:
            yield
        except Exception:
            traceback.print_exc()
            self.failed.append(part)


def _measure(
    plane: AuditedControlPlane, api: client.ApiClient, options: argparse.Namespace, report: Report
) -> None:
    """Each contender runs alone: the other's controllers are not there."""
    kubectl = runner(binaries.find("kubectl"), plane.kubeconfig)
    helm = runner(binaries.find("helm"), plane.kubeconfig)
    log = AuditLog(file=plane.audit_log)
    ours, operator = fine_tune_job(plane, kubectl, helm)
    loads = Loads(plane=plane, api=api, log=log, contender=ours)
    _train(loads, options, report)
    if not options.only_ours:
        with operator.paused(), report.surviving("TrainJob"):
            report.add("TrainJob", "versions", kubeflow.versions)
            theirs, processes = train_job(plane, kubectl)
            _train(Loads(plane=plane, api=api, log=log, contender=theirs), options, report)
            for process in processes:
                process.stop()
        until("the operator", lambda: operator.process)
    report.add(ours.kind, "idle", lambda: loads.idle(options.idle_jobs, options.idle_seconds))
    operator.stop()


def _train(loads: Loads, options: argparse.Namespace, report: Report) -> None:
    """At once, and at each rate for as many seconds as the first rate takes for all jobs."""
    kind = loads.contender.kind
    report.add(kind, "atOnce", lambda: loads.train(options.jobs))
    for rate in options.per_second:
        jobs = math.ceil(options.jobs * rate / max(options.per_second))
        measure = partial(loads.train, jobs, per_second=rate)
        report.add(kind, f"{rate:g}PerSecond", measure)


if __name__ == "__main__":
    main()
