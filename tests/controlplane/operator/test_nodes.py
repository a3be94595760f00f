"""Servers on several nodes, against LeaderWorkerSet's own API; with its own controller too: `make lws`."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cluster.commands import Run
from cluster.controlplane import ControlPlane
from cluster.lws import LWS
from cluster.pods import Pods, ready_after
from parents import Parents
from played_groups import played_groups
from waiting import until

LEADER = {"leaderworkerset.sigs.k8s.io/worker-index": "0"}
TWO_NODES: dict[str, Any] = {
    "model": {"uri": "models/one"},
    "storage": {"claimName": "models"},
    "device": "cpu",
    "nodes": 2,
    "tensorParallelSize": 2,
}


@pytest.fixture(scope="module")
def controller(control_plane: ControlPlane, kubectl: Run) -> Iterator[None]:
    kubectl("create", "namespace", LWS.namespace)
    process = LWS.start(control_plane, kubectl)
    yield
    kubectl("delete", "mutatingwebhookconfiguration,validatingwebhookconfiguration", LWS.name)
    process.stop()


@pytest.fixture(params=["played", pytest.param("controller", marks=pytest.mark.lws)])
def groups(request: pytest.FixtureRequest, kubectl: Run, namespace: str) -> Iterator[None]:
    if request.param == "controller":
        request.getfixturevalue("controller")
        yield
        return
    with played_groups(kubectl, namespace):
        yield


def children(kubectl: Run, parents: Parents, kinds: str) -> list[dict[str, Any]]:
    found = kubectl("get", kinds, f"--namespace={parents.namespace}", "--output=json").stdout
    items: list[dict[str, Any]] = json.loads(found)["items"]
    return items


def endpoints(kubectl: Run, parents: Parents) -> list[str]:
    """The pods behind the server's Service."""
    slices = (
        each
        for each in children(kubectl, parents, "endpointslices")
        if each["metadata"]["labels"]["kubernetes.io/service-name"] == "faq"
    )
    return [str(each["targetRef"]["name"]) for slice_ in slices for each in slice_["endpoints"] or ()]


@pytest.mark.usefixtures("groups")
def test_a_group_serves_when_its_leader_generates(parents: Parents, pods: Pods, kubectl: Run) -> None:
    pods.play(LEADER, ready_after(3))
    parents.create("ModelDeployment", "faq", TWO_NODES)
    parents.until("ModelDeployment", "faq", "Available", "False")
    parents.until("ModelDeployment", "faq", "Available")
    parents.until("ModelDeployment", "faq", "Reconciling", "False")

    until("the leader alone", lambda: endpoints(kubectl, parents) == ["faq-nodes-0"])
    (made,) = children(kubectl, parents, "leaderworkersets")
    assert made["metadata"]["generation"] == 1  # its defaults are no changes of ours

    parents.patch("ModelDeployment", "faq", {"nodes": 1})
    until("a Deployment alone", lambda: not children(kubectl, parents, "leaderworkersets"))
    parents.until("ModelDeployment", "faq", "Available")
    assert len(children(kubectl, parents, "deployments")) == 1
