"""A new version by a real HTTPRoute, with pods and a Gateway that are played: given up, promoted, deleted."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from cluster.commands import Run
from cluster.pods import Pods, running_at
from kubernetes import client
from parents import Parents
from played_gateway import played_gateway
from waiting import until

CANARY = {"app.kubernetes.io/component": "canary"}


class Counts:
    """What the canary's server counts, as vLLM writes it."""

    failed = 0

    def text(self) -> bytes:
        label = 'handler="/v1/chat/completions",method="POST"'
        lines = (("2xx", 100 - self.failed), ("5xx", self.failed))
        return "".join(
            f'http_requests_total{{{label},status="{status}"}} {count}.0\n' for status, count in lines
        ).encode()


@contextmanager
def answering(counts: Counts) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(counts.text())

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def port(counts: Counts, pods: Pods) -> Iterator[int]:
    """Where the canary's pod answers."""
    pods.play(CANARY, running_at("127.0.0.1"))
    with answering(counts) as port:
        yield port


@pytest.fixture
def gateway(api: client.ApiClient, namespace: str) -> Iterator[None]:
    with played_gateway(api, namespace):
        yield


def serving(version: str, port: int) -> dict[str, Any]:
    canary = {
        "parentRefs": [{"name": "public", "namespace": "gateways"}],
        "weights": [20],
        "intervalSeconds": 10,
        "analysis": {"minRequests": 20, "maxErrorPercent": 5},
    }
    return {
        "model": {"uri": f"models/{version}"},
        "storage": {"claimName": "models"},
        "device": "cpu",
        "port": port,
        "rollout": {"canary": canary},
    }


def weights(parents: Parents, kubectl: Run) -> dict[str, int]:
    found = kubectl("get", "httproute/faq", f"--namespace={parents.namespace}", "--output=json").stdout
    (rule,) = json.loads(found)["spec"]["rules"]
    return {backend["name"]: backend["weight"] for backend in rule["backendRefs"]}


def names(parents: Parents, kubectl: Run) -> set[str]:
    kinds = "deployments,services,networkpolicies,httproutes"
    found = kubectl("get", kinds, f"--namespace={parents.namespace}", "--output=name").stdout
    return {name.partition("/")[2] for name in found.split()}


def served(parents: Parents, kubectl: Run) -> str:
    path = "--output=jsonpath={.spec.template.spec.containers[0].args[1]}"
    found = kubectl("get", "deployment/faq", f"--namespace={parents.namespace}", path).stdout
    return found.rpartition("/")[2]


@pytest.mark.usefixtures("gateway")
def test_a_canary_is_given_up_or_takes_the_place(
    parents: Parents, kubectl: Run, counts: Counts, port: int
) -> None:
    here = f"--namespace={parents.namespace}"
    parents.create("ModelDeployment", "faq", serving("one", port))
    parents.until("ModelDeployment", "faq", "Available")
    assert weights(parents, kubectl) == {"faq": 100}

    parents.patch("ModelDeployment", "faq", serving("two", port))
    shared = {"faq": 80, "faq-canary": 20}
    until("a share for the canary", lambda: weights(parents, kubectl) == shared)
    # All of them for the canary, by somebody else's hand.
    everything = [{"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": 0}]
    kubectl("patch", "httproute/faq", here, "--type=json", f"--patch={json.dumps(everything)}")
    until("its share again", lambda: weights(parents, kubectl) == shared)

    counts.failed = 10
    stalled = parents.until("ModelDeployment", "faq", "Stalled")
    assert stalled["reason"] == "CanaryFailed"
    assert "10 % of its requests failed" in stalled["message"]
    until("no canary", lambda: names(parents, kubectl) == {"faq"})
    assert (weights(parents, kubectl), served(parents, kubectl)) == ({"faq": 100}, "one")
    assert ("Warning", "CanaryFailed") in parents.events("ModelDeployment", "faq")

    counts.failed = 1
    parents.patch("ModelDeployment", "faq", serving("three", port))
    until("a share for the next", lambda: weights(parents, kubectl) == shared)
    until("all requests with it", lambda: weights(parents, kubectl) == {"faq-canary": 100})
    until("its place taken", lambda: names(parents, kubectl) == {"faq"})
    assert (weights(parents, kubectl), served(parents, kubectl)) == ({"faq": 100}, "three")
    parents.until("ModelDeployment", "faq", "Stalled", "False")
    parents.until("ModelDeployment", "faq", "Reconciling", "False")

    parents.delete("ModelDeployment", "faq")
    until("nothing left", lambda: not names(parents, kubectl))
