"""A control plane of its own: other tests apply the CRDs themselves, and helm does not take over theirs."""

from collections.abc import Iterator

import pytest
from cluster import binaries
from cluster.commands import Run, runner
from cluster.controlplane import ControlPlane, running
from cluster.optional_apis import install_optional_apis
from rendered import NAMESPACE


@pytest.fixture(scope="session")
def chart_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running(tmp_path_factory.mktemp("chart"), gpu_nodes=0) as plane:
        yield plane


@pytest.fixture(scope="session")
def kubectl(chart_plane: ControlPlane) -> Run:
    """As the administrator, in a cluster with a restricted namespace for the operator."""
    run = runner(binaries.find("kubectl"), chart_plane.kubeconfig)
    run("create", "namespace", NAMESPACE)
    run("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    return run


@pytest.fixture(scope="session")
def helm(chart_plane: ControlPlane, kubectl: Run) -> Run:
    """As the administrator, once the namespace is there."""
    assert kubectl("get", "namespace", NAMESPACE)
    return runner(binaries.find("helm"), chart_plane.kubeconfig)


@pytest.fixture(scope="session")
def optional_apis(kubectl: Run) -> None:
    """LeaderWorkerSets, HTTPRoutes and ScaledObjects are served here, too."""
    install_optional_apis(kubectl)
