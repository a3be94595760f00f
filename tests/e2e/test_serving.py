"""A server in pods: a start that takes long, and what its clients see while it is replaced."""

from typing import Any

import pytest
import yaml
from clients import Clients
from cluster.commands import WAIT
from cluster.real.cluster import RealCluster
from figures import Figures
from in_cluster import ROOT, TWO_ON_TWO_CPUS, InCluster
from waiting import until

pytestmark = [pytest.mark.usefixtures("operator", "server_image"), pytest.mark.timeout(3600)]
SERVES = "app.kubernetes.io/component=serve"
NAME = "tiny-base"
ANSWERS = 1000
STREAM_SECONDS = 30
MODEL_LENGTH = 16_384


def deployment(**spec: Any) -> str:
    manifest = yaml.safe_load((ROOT / "examples/serve-base.yaml").read_text())
    rollout = {"maxSurge": 1, "maxUnavailable": 0}
    manifest["spec"] |= {
        "maxModelLen": MODEL_LENGTH,
        "rollout": rollout,
        "podOverrides": TWO_ON_TWO_CPUS,
    } | spec
    return yaml.safe_dump(manifest)


def test_a_load_that_takes_long_is_not_killed(
    shared_place: InCluster, cluster: RealCluster, figures: Figures
) -> None:
    """The server is held in the midst of its start, until the kubelet has asked it in vain six times."""
    place, node = shared_place, cluster.node.namespaces
    place.apply(deployment())
    until("a server that runs", lambda: any(map(_runs, place.pods(SERVES))))
    (pod,) = place.pods(SERVES)
    server = _first_process(cluster, pod)
    node.run("kill", "-STOP", server)
    try:
        until("six failed probes", lambda: _failed_probes(place, pod) >= 6)
    finally:
        node.run("kill", "-CONT", server)
    with figures.timed("a server that was held for a minute: from its release to Available"):
        place.run("wait", "--for=condition=Available", f"modeldeployment/{NAME}", WAIT)
    (after,) = place.pods(SERVES)
    assert after["metadata"]["name"] == pod["metadata"]["name"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0


def test_a_rolling_update_loses_no_request(shared_place: InCluster, figures: Figures) -> None:
    place = shared_place
    place.apply(deployment())
    place.run("wait", "--for=condition=Available", f"modeldeployment/{NAME}", WAIT)
    before = _names(place)
    clients = Clients(url=place.url(NAME), model=NAME, stream_seconds=1.5 * STREAM_SECONDS)
    with clients.asking(chats=2, streams=2):
        until("a stream that came whole", lambda: clients.streams or clients.problems)
        place.apply(deployment(maxModelLen=MODEL_LENGTH - 1))
        with figures.timed("a rolling update, until the last old pod is gone"):
            until("other pods alone", lambda: (now := _names(place)) and not now & before)
        until("as many answers", lambda: clients.answered >= ANSWERS or clients.problems)
    long = [round(seconds) for seconds in clients.streams if seconds >= STREAM_SECONDS]
    figures.tell("chats answered, seconds of long streams", [clients.answered, long])
    figures.tell("requests lost", dict(clients.problems))
    assert not clients.problems
    assert clients.answered >= ANSWERS
    assert long


def _names(place: InCluster) -> set[str]:
    return {pod["metadata"]["name"] for pod in place.pods(SERVES)}


def _runs(pod: dict[str, Any]) -> bool:
    return any("running" in each["state"] for each in pod["status"].get("containerStatuses", []))


def _first_process(cluster: RealCluster, pod: dict[str, Any]) -> str:
    """Of the pod's container, as the node numbers it."""
    container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    tasks = cluster.node.namespaces.run("ctr", "--namespace=k8s.io", "tasks", "list").splitlines()
    return next(line.split()[1] for line in tasks if line.startswith(container))


def _failed_probes(place: InCluster, pod: dict[str, Any]) -> int:
    """As the kubelet has counted them."""
    chosen = f"--field-selector=reason=Unhealthy,involvedObject.name={pod['metadata']['name']}"
    return sum(event["count"] for event in place.events(chosen))
