"""How long after the API server's return the operator acts on a new object, by how long it was away."""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/controlplane/operator"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/controlplane"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/builders"))

from cluster import binaries
from cluster.commands import runner
from cluster.controlplane import ControlPlane, running
from cluster.operator_pod import OperatorPod
from kubernetes import client
from parents import Parents, job_spec
from waiting import until

from report import write_report

CHART = Path(__file__).parents[1] / "helm/finetune-operator"
PACKAGES = ("finetune-operator", "kopf", "kubernetes")


def main() -> None:
    parser = argparse.ArgumentParser(prog="api_server_away", description=__doc__)
    parser.add_argument("--seconds", type=float, nargs="*", default=[1, 15, 40, 60])
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="finetune-away-") as folder,
        running(Path(folder)) as plane,
        operator(plane) as pod,
    ):
        away = {f"{seconds:g}": acts_after(plane, seconds) for seconds in options.seconds}
        figures = {"secondsUntilItActsBySecondsAway": away, "operatorStarts": pod.starts}
    write_report("api-server-away", figures, packages=PACKAGES)


@contextmanager
def operator(plane: ControlPlane) -> Iterator[OperatorPod]:
    """The operator, installed by its chart."""
    helm = runner(binaries.find("helm"), plane.kubeconfig)
    helm("install", "finetune-operator", str(CHART), "--namespace=finetune-system", "--create-namespace")
    pod = OperatorPod.of(plane)
    pod.start()
    try:
        acts_after(plane, 0)
        yield pod
    finally:
        pod.stop()


def acts_after(plane: ControlPlane, seconds_away: float) -> float:
    """Seconds from the server's answer that it is ready to the first word of a job that is made then."""
    if seconds_away:
        plane.processes["kube-apiserver"].kill()
        time.sleep(seconds_away)
        plane.start_process("kube-apiserver")
    with plane.api_client() as api:
        ready = time.monotonic()
        parents = Parents(api=api, namespace="default")
        name = f"faq-{uuid4().hex[:8]}"

        def is_made() -> bool:
            try:
                return bool(parents.create("FineTuneJob", name, job_spec()))
            except client.ApiException:  # ready, but not yet for everything
                return False

        until("a job", is_made)
        until("a run", lambda: (parents.get("FineTuneJob", name) or {}).get("status", {}).get("conditions"))
        return round(time.monotonic() - ready, 1)


if __name__ == "__main__":
    main()
