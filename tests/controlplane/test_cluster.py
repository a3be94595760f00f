"""The control plane itself: what tests of the operator may rely on."""

from typing import Any

import pytest
from cluster import binaries
from cluster.controlplane import ControlPlane
from cluster.nodes import GPU_TAINT
from cluster.pods import (
    Pods,
    Script,
    crash_loop,
    fail,
    never_ready,
    out_of_memory,
    ready_after,
    succeed,
    waiting,
)
from kubernetes import client
from waiting import until

IMAGE = "registry.test/trainer:1"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod_spec(*, gpus: int = 0, restart_policy: str = "Never") -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "main",
        "image": IMAGE,
        "securityContext": RESTRICTED,
    }
    if gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": str(gpus)}}
    tolerations = [{"key": GPU_TAINT["key"], "operator": "Exists"}] if gpus else []
    return {"restartPolicy": restart_policy, "containers": [container], "tolerations": tolerations}


def indexed_job(name: str, *, nodes: int, gpus: int) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "completionMode": "Indexed",
            "completions": nodes,
            "parallelism": nodes,
            "backoffLimit": 0,
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod_spec(gpus=gpus)},
        },
    }


def test_a_node_that_really_runs_pods_is_of_the_control_plane_s_kubernetes() -> None:
    versions = {
        binaries.module_version("k8s.io/kubernetes", tools)
        for tools in (binaries.TOOLS, binaries.TOOLS / "node")
    }
    assert len(versions) == 1


def test_nodes_are_ready_with_their_gpus(api: client.ApiClient) -> None:
    nodes = {each.metadata.name: each for each in client.CoreV1Api(api).list_node().items}
    gpus = {name: each.status.allocatable.get("nvidia.com/gpu") for name, each in nodes.items()}
    assert gpus == {"cpu-0": None, "gpu-0": "8", "gpu-1": "8", "gpu-2": "8", "gpu-3": "8"}
    ready = {c.status for each in nodes.values() for c in each.status.conditions if c.type == "Ready"}
    assert ready == {"True"}


def test_an_indexed_job_takes_a_node_a_pod_and_completes(api: client.ApiClient, pods: Pods) -> None:
    batch, core = client.BatchV1Api(api), client.CoreV1Api(api)
    pods.play({"app": "train"}, succeed(after=1))
    batch.create_namespaced_job(pods.namespace, indexed_job("train", nodes=4, gpus=8))

    def running() -> list[client.V1Pod]:
        found = core.list_namespaced_pod(pods.namespace, field_selector="status.phase=Running").items
        return found if len(found) == 4 else []

    found = until("four running pods", running)
    assert {each.spec.node_name for each in found} == {"gpu-0", "gpu-1", "gpu-2", "gpu-3"}
    assert len({each.status.pod_ip for each in found}) == 4

    status = until(
        "a complete job",
        lambda: (job := batch.read_namespaced_job("train", pods.namespace).status).completion_time and job,
    )
    assert status.completed_indexes == "0-3"


def test_a_job_that_does_not_fit_stays_pending_and_says_why(api: client.ApiClient, pods: Pods) -> None:
    core = client.CoreV1Api(api)
    core.create_namespaced_pod(pods.namespace, {"metadata": {"name": "big"}, "spec": pod_spec(gpus=16)})

    def scheduled() -> client.V1PodCondition | None:
        conditions = core.read_namespaced_pod("big", pods.namespace).status.conditions or []
        return next((each for each in conditions if each.type == "PodScheduled"), None)

    assert "5 Insufficient nvidia.com/gpu" in until("a scheduler's verdict", scheduled).message


def container_end(pod: client.V1Pod) -> tuple[int, str, str] | None:
    state = pod.status.container_statuses and pod.status.container_statuses[0].state.terminated
    return (state.exit_code, state.reason, state.message or "") if state else None


MESSAGE = '{"reason": "BadData", "message": "line 3: {{ not JSON }}", "remedy": "repair \\"it\\""}'


@pytest.mark.parametrize(
    ("script", "phase", "end"),
    [
        pytest.param(succeed(), "Succeeded", (0, "Completed", ""), id="success"),
        pytest.param(fail(2, message=MESSAGE), "Failed", (2, "Error", MESSAGE), id="exit-code-and-message"),
        pytest.param(fail(143), "Failed", (143, "Error", ""), id="stopped"),
        pytest.param(out_of_memory(), "Failed", (137, "OOMKilled", ""), id="out-of-memory"),
    ],
)
def test_pods_end_as_told(
    api: client.ApiClient, pods: Pods, script: Script, phase: str, end: tuple[int, str, str]
) -> None:
    batch, core = client.BatchV1Api(api), client.CoreV1Api(api)
    pods.play({"batch.kubernetes.io/job-name": "train"}, script)
    batch.create_namespaced_job(pods.namespace, indexed_job("train", nodes=1, gpus=1))
    verdict = until(
        "the job's end",
        lambda: next(
            (c.type for c in batch.read_namespaced_job("train", pods.namespace).status.conditions or []
             if c.type in ("Complete", "Failed") and c.status == "True"),
            None,
        ),
    )  # fmt: skip
    assert verdict == ("Complete" if phase == "Succeeded" else "Failed")
    (pod,) = core.list_namespaced_pod(pods.namespace).items
    assert (pod.status.phase, container_end(pod)) == (phase, end)


def test_a_script_reaches_pods_that_run_already(api: client.ApiClient, pods: Pods) -> None:
    core = client.CoreV1Api(api)
    for name in ("one", "other"):
        core.create_namespaced_pod(
            pods.namespace, {"metadata": {"name": name, "labels": {"app": name}}, "spec": pod_spec()}
        )
    read = core.read_namespaced_pod
    until("a running pod", lambda: read("one", pods.namespace).status.phase == "Running")
    pods.play({"app": "one"}, fail(3))
    until("its end", lambda: container_end(read("one", pods.namespace)) == (3, "Error", ""))
    assert read("other", pods.namespace).status.phase == "Running"


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod_spec(gpus=8, restart_policy="Always")},
        },
    }


@pytest.mark.parametrize(
    ("script", "waits_for"),
    [
        pytest.param(never_ready(), None, id="never-ready"),
        pytest.param(waiting("ImagePullBackOff", "no such image"), "ImagePullBackOff", id="no-image"),
        pytest.param(crash_loop(2, message="bad flag"), "CrashLoopBackOff", id="crash-loop"),
    ],
)
def test_a_deployment_whose_pods_are_never_ready_is_not_available(
    api: client.ApiClient, pods: Pods, script: Script, waits_for: str | None
) -> None:
    apps, core = client.AppsV1Api(api), client.CoreV1Api(api)
    pods.play({"app": "serve"}, script)
    apps.create_namespaced_deployment(pods.namespace, deployment("serve"))
    pod = until(
        "a pod with a container",
        lambda: next(
            (p for p in core.list_namespaced_pod(pods.namespace).items if p.status.container_statuses), None
        ),
    )
    state = pod.status.container_statuses[0].state
    assert (state.waiting and state.waiting.reason) == waits_for
    assert not apps.read_namespaced_deployment("serve", pods.namespace).status.available_replicas


def test_a_deployment_becomes_available_when_its_pods_do(api: client.ApiClient, pods: Pods) -> None:
    apps = client.AppsV1Api(api)
    pods.play({"app": "serve"}, ready_after(1))
    apps.create_namespaced_deployment(pods.namespace, deployment("serve"))
    read = apps.read_namespaced_deployment_status
    until("an available replica", lambda: read("serve", pods.namespace).status.available_replicas)


def test_deleting_a_job_ends_and_removes_its_pods(api: client.ApiClient, pods: Pods) -> None:
    batch, core = client.BatchV1Api(api), client.CoreV1Api(api)
    batch.create_namespaced_job(pods.namespace, indexed_job("train", nodes=2, gpus=8))
    names = lambda: [p.status.phase for p in core.list_namespaced_pod(pods.namespace).items]  # noqa: E731
    until("running pods", lambda: names() == ["Running", "Running"])
    batch.delete_namespaced_job("train", pods.namespace, propagation_policy="Foreground")
    until("no pods", lambda: not names())


def test_a_claim_gets_a_volume(api: client.ApiClient, pods: Pods) -> None:
    core = client.CoreV1Api(api)
    claim = {
        "metadata": {"name": "models"},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "5Ti"}}},
    }
    core.create_namespaced_persistent_volume_claim(pods.namespace, claim)
    read = core.read_namespaced_persistent_volume_claim
    until("a bound claim", lambda: read("models", pods.namespace).status.phase == "Bound")


def test_permissions_are_enforced(control_plane: ControlPlane, api: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(api)
    token = core.create_namespaced_service_account_token("default", namespace, {"spec": {}})
    control_plane.credentials.write_kubeconfig_for("default", control_plane.server, token.status.token)
    denies = pytest.raises(client.ApiException, match=r'cannot list resource \\"secrets\\"')
    with control_plane.api_client("default") as as_default, denies as denied:
        client.CoreV1Api(as_default).list_namespaced_secret(namespace)
    assert denied.value.status == 403


def test_the_restricted_pod_security_level_is_enforced(api: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(api)
    spec = {"containers": [{"name": "main", "image": IMAGE}]}
    with pytest.raises(client.ApiException, match="violates PodSecurity") as denied:
        core.create_namespaced_pod(namespace, {"metadata": {"name": "root"}, "spec": spec})
    assert denied.value.status == 403
