"""The operator, installed by its chart and run with its service account's rights."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.commands import Run, runner
from cluster.controlplane import ControlPlane
from cluster.operator_pod import OperatorPod
from cluster.pods import Pods, succeed
from kubernetes import client
from parents import Parents

ROOT = Path(__file__).parents[3]
STAGES = ("prepare", "train", "merge", "verify")


@pytest.fixture(scope="session")
def operator(
    control_plane: ControlPlane, kubectl: Run, helm: Run, crds: None, optional_apis: None
) -> Iterator[OperatorPod]:
    """Installed as the README says, but for the CRDs, which other tests of this control plane apply."""
    assert crds is None
    assert optional_apis is None  # they are looked for at the start
    pod = OperatorPod.of(control_plane)
    kubectl("create", "namespace", "finetune-system")
    kubectl("label", "namespace", "finetune-system", "pod-security.kubernetes.io/enforce=restricted")
    chart = str(ROOT / "helm/finetune-operator")
    helm("install", "finetune-operator", chart, "--namespace=finetune-system", "--set=crds.install=false")
    pod.start()
    yield pod
    pod.stop()


@pytest.fixture(scope="session")
def finetune(control_plane: ControlPlane) -> Run:
    """The command line."""
    return runner(Path(sys.executable).with_name("finetune"), control_plane.kubeconfig)


@pytest.fixture
def parents(operator: OperatorPod, api: client.ApiClient, namespace: str) -> Parents:
    """Both kinds, in a namespace of this test, with a claim for them to share."""
    assert operator
    core = client.CoreV1Api(api)
    core.create_namespaced_persistent_volume_claim(
        namespace,
        {
            "metadata": {"name": "models"},
            "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
        },
    )
    return Parents(api=api, namespace=namespace)


@pytest.fixture
def stages_succeed(pods: Pods) -> None:
    """Every stage runs for a moment and ends with 0."""
    for stage in STAGES:
        pods.play({"app.kubernetes.io/component": stage}, succeed(after=0.3))
