"""A server in pods: a start that takes long, and what its clients see while it is replaced."""

import time
from typing import Any

import pytest
import yaml
from clients import Clients
from cluster.commands import WAIT
from cluster.process import answers
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
UNBOUND = [
    {"name": "VLLM_CPU_OMP_THREADS_BIND", "value": "nobind"},
    {"name": "OMP_NUM_THREADS", "value": "1"},
]
"""vLLM binds every server to the same first CPUs: the new one starves beside the old one."""


def deployment(**spec: Any) -> str:
    manifest = yaml.safe_load((ROOT / "examples/serve-base.yaml").read_text())
    rollout = {"maxSurge": 1, "maxUnavailable": 0}
    manifest["spec"] |= {
        "maxModelLen": MODEL_LENGTH,
        "rollout": rollout,
        "podOverrides": TWO_ON_TWO_CPUS | {"env": UNBOUND},
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
    """Chats all the time; long streams on the old server from when the new one listens."""
    place = shared_place
    place.apply(deployment())
    place.run("wait", "--for=condition=Available", f"modeldeployment/{NAME}", WAIT)
    before = _names(place)
    clients = Clients(url=place.url(NAME), model=NAME)
    with clients.chatting(2):
        with figures.timed("a rolling update, until the last old pod is gone"):
            place.apply(deployment(maxModelLen=MODEL_LENGTH - 1))
            until("a new server that listens", lambda: any(map(_listens, _others(place, before))))
            with clients.streaming(2, seconds=2 * STREAM_SECONDS) as streams:
                until("an old pod that is told to end", lambda: _told_to_end(place, before))
                switched = time.monotonic()
            until("other pods alone", lambda: (now := _names(place)) and not now & before)
        until("as many answers", lambda: clients.answered >= ANSWERS or clients.problems)
    at_the_switch = [each for each in streams if each.opened < switched < each.ended]
    figures.tell("chats answered", clients.answered)
    figures.tell(
        "streams open at the switch: seconds, and of these after it",
        [[round(each.seconds), round(each.ended - switched)] for each in at_the_switch],
    )
    figures.tell("requests lost", dict(clients.problems))
    figures.tell("lost so many seconds after the switch", [round(at - switched, 1) for at in clients.lost_at])
    assert not clients.problems
    assert clients.answered >= ANSWERS
    assert len(at_the_switch) == 2
    assert all(each.seconds >= STREAM_SECONDS for each in at_the_switch)


def _others(place: InCluster, before: set[str]) -> list[dict[str, Any]]:
    return [pod for pod in place.pods(SERVES) if pod["metadata"]["name"] not in before]


def _listens(pod: dict[str, Any]) -> bool:
    """Seconds before its probes have it generate, upon which it is ready."""
    address = pod["status"].get("podIP")
    return bool(address) and answers(f"http://{address}:8000/health")


def _told_to_end(place: InCluster, names: set[str]) -> bool:
    pods = [pod["metadata"] for pod in place.pods(SERVES)]
    return not names <= {pod["name"] for pod in pods if "deletionTimestamp" not in pod}


def _names(place: InCluster) -> set[str]:
    return {pod["metadata"]["name"] for pod in place.pods(SERVES)}


def _runs(pod: dict[str, Any]) -> bool:
    return any("running" in each["state"] for each in pod["status"].get("containerStatuses", []))


def _first_process(cluster: RealCluster, pod: dict[str, Any]) -> str:
    """Of the pod's container, as the node numbers it."""
    container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    tasks = cluster.node.ctr("tasks", "list").splitlines()
    return next(line.split()[1] for line in tasks if line.startswith(container))


def _failed_probes(place: InCluster, pod: dict[str, Any]) -> int:
    """As the kubelet has counted them."""
    chosen = f"--field-selector=reason=Unhealthy,involvedObject.name={pod['metadata']['name']}"
    return sum(event["count"] for event in place.events(chosen))
