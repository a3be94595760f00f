"""The node itself, by pods that have nothing of ours in them."""

import json
import os
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from cluster.commands import WAIT
from cluster.controlplane import POD_RANGE
from cluster.real.node import BUSYBOX
from in_cluster import POD_USER, InCluster
from waiting import until

NAME = {"app": "one"}


def pod(name: str, script: str) -> dict[str, Any]:
    """As restricted as a pod can be; its volume is in /models."""
    container = {
        "name": "main",
        "image": BUSYBOX,
        "command": ["/bin/busybox", "sh", "-c", script],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "models", "mountPath": "/models"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": NAME},
        "spec": {
            "hostname": name,
            "subdomain": "pods",
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": POD_USER,
                "runAsGroup": POD_USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}],
        },
    }


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"port": 80, "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": NAME, "ports": ports} | spec,
    }


def result(place: InCluster, name: str) -> str:
    """What the pod has printed once it has ended."""
    until(f"{name} ended", lambda: place.get("pod", name)["status"]["phase"] in ("Succeeded", "Failed"))
    return place.run("logs", name).strip()


def apply(place: InCluster, *objects: dict[str, Any]) -> None:
    for each in objects:
        place.apply(json.dumps(each))


def test_a_restricted_pod_runs_with_an_address_and_writes_its_volume(empty: InCluster) -> None:
    apply(empty, pod("writer", "busybox id -u; echo written > /models/file"))
    assert result(empty, "writer") == str(POD_USER)
    assert ip_address(empty.get("pod", "writer")["status"]["podIP"]) in ip_network(POD_RANGE)
    assert (empty.volume / "file").read_text() == "written\n"
    assert os.stat(empty.volume / "file").st_uid == POD_USER


@pytest.mark.parametrize(
    "name", ["server.pods", "server.pods.{namespace}.svc.cluster.local", "web", "{address}"]
)
def test_pods_find_each_other(empty: InCluster, name: str) -> None:
    """By the name of a pod behind a headless Service, by that of a Service, by the Service's address."""
    serve(empty)
    filled = name.format(namespace=empty.namespace, address=empty.get("service", "web")["spec"]["clusterIP"])
    port = 8080 if name.startswith("server") else 80
    apply(empty, pod("client", f"until {ask(filled, port)}; do busybox sleep 0.2; done"))
    assert result(empty, "client").endswith("hello")


def test_a_policy_that_denies_is_enforced(empty: InCluster) -> None:
    serve(empty)
    apply(empty, pod("before", f"until {ask('server.pods', 8080)}; do busybox sleep 0.2; done"))
    assert result(empty, "before").endswith("hello")
    policy = {"podSelector": {"matchLabels": NAME}, "policyTypes": ["Ingress"]}
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    apply(empty, kind | {"metadata": {"name": "nobody"}, "spec": policy})
    denied = f"while {ask('server.pods', 8080)}; do busybox sleep 0.2; done; echo; echo denied"
    apply(empty, pod("after", denied))
    assert result(empty, "after").endswith("denied")


def serve(place: InCluster) -> None:
    """A pod behind two Services, ready, that answers hello."""
    headless = service("pods", clusterIP="None", publishNotReadyAddresses=True)
    answer = "echo hello > /models/index.html; busybox httpd -f -p 8080 -h /models"
    apply(place, headless, service("web"), pod("server", answer))
    place.run("wait", "--for=condition=Ready", "pod/server", WAIT)


def ask(name: str, port: int) -> str:
    """Not by wget, whose time limit a static busybox does not survive. What nc says would stand anywhere."""
    return f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 2 {name} {port} 2>/dev/null"
