"""Fake nodes: GPU nodes of eight H200, labelled and tainted as GPU clusters do, and one plain CPU node."""

from typing import Any

from kubernetes import client

GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}

GPU_LABELS = {
    # What NVIDIA's GPU feature discovery writes.
    "nvidia.com/gpu.present": "true",
    "nvidia.com/gpu.product": "NVIDIA-H200",
    "nvidia.com/gpu.count": "8",
    "nvidia.com/gpu.memory": "143771",
}

GPU_CAPACITY = {
    "cpu": "192",
    "memory": "2Ti",
    "ephemeral-storage": "8Ti",
    "pods": "110",
    "nvidia.com/gpu": "8",
    "rdma/hca": "8",
}

CPU_CAPACITY = {"cpu": "4000", "memory": "16Ti", "ephemeral-storage": "16Ti", "pods": "1000"}


def create(api: client.ApiClient, *, gpu_nodes: int, cpu_nodes: int = 1) -> None:
    core = client.CoreV1Api(api)
    for index in range(gpu_nodes):
        core.create_node(node(f"gpu-{index}", GPU_LABELS, GPU_CAPACITY, [GPU_TAINT]))
    for index in range(cpu_nodes):
        core.create_node(node(f"cpu-{index}", {}, CPU_CAPACITY, []))


def node(
    name: str, labels: dict[str, str], capacity: dict[str, str], taints: list[dict[str, str]]
) -> dict[str, Any]:
    well_known = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/zone": "zone-a",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": well_known | labels},
        "spec": {"taints": taints},
        "status": {"capacity": capacity, "allocatable": capacity},
    }


def are_ready(api: client.ApiClient) -> bool:
    """Whether there are nodes, and every one is Ready and free of the taints that a node starts with."""
    found = client.CoreV1Api(api).list_node().items
    return bool(found) and all(map(_schedulable, found))


def _schedulable(each: client.V1Node) -> bool:
    ready = any(one.type == "Ready" and one.status == "True" for one in each.status.conditions or [])
    return ready and not any(one.key == "node.kubernetes.io/not-ready" for one in each.spec.taints or [])
