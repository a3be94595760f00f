"""A server in pods: what its clients see while it is replaced."""

import threading
from collections import Counter
from urllib.error import URLError

import pytest
import yaml
from cluster.commands import WAIT
from in_cluster import ROOT, InCluster, ask_at
from waiting import until

pytestmark = [pytest.mark.usefixtures("operator", "server_image"), pytest.mark.timeout(3600)]
SERVES = "app.kubernetes.io/component=serve"


def test_a_rolling_update_loses_no_request(place: InCluster) -> None:
    deployment = yaml.safe_load((ROOT / "examples/serve-base.yaml").read_text())
    deployment["spec"]["rollout"] = {"maxSurge": 1, "maxUnavailable": 0}
    name = deployment["metadata"]["name"]
    place.apply(yaml.safe_dump(deployment))
    place.run("wait", "--for=condition=Available", f"modeldeployment/{name}", WAIT)
    before = pods(place)
    deployment["spec"]["maxModelLen"] = 480
    outcomes: Counter[str] = Counter()
    done = threading.Event()
    clients = [threading.Thread(target=ask_until, args=(done, place, name, outcomes)) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        place.apply(yaml.safe_dump(deployment))
        until("other pods alone", lambda: (now := pods(place)) and not now & before)
    finally:
        done.set()
        for client in clients:
            client.join()
    assert outcomes.pop("answered") > 0
    assert not outcomes


def pods(place: InCluster) -> set[str]:
    return {pod["metadata"]["name"] for pod in place.pods(SERVES)}


def ask_until(done: threading.Event, place: InCluster, name: str, outcomes: Counter[str]) -> None:
    """Each request by a connection of its own."""
    url = place.url(name)
    while not done.is_set():
        try:
            ask_at(url, name, "What does a FineTuneJob do?", limit=20)
            outcomes["answered"] += 1
        except (URLError, OSError) as problem:
            outcomes[str(problem)] += 1
