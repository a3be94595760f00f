"""One control plane for the session, one namespace for each test."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from cluster import binaries
from cluster.commands import WAIT, Run, runner
from cluster.controlplane import ControlPlane, running
from cluster.optional_apis import install_optional_apis
from cluster.pods import Pods
from kubernetes import client
from waiting import until

CRDS = Path(__file__).parents[2] / "crds"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what needs the operator last: it goes on running, and changes what other tests write."""
    items.sort(key=lambda item: "operator" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running(tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> Iterator[client.ApiClient]:
    """The administrator's."""
    with control_plane.api_client() as found:
        yield found


@pytest.fixture(scope="session")
def kubectl(control_plane: ControlPlane) -> Run:
    return runner(binaries.find("kubectl"), control_plane.kubeconfig)


@pytest.fixture(scope="session")
def helm(control_plane: ControlPlane) -> Run:
    return runner(binaries.find("helm"), control_plane.kubeconfig)


@pytest.fixture(scope="session")
def crds(kubectl: Run) -> None:
    """Both kinds are installed and served."""
    kubectl("apply", "--server-side", "--filename", str(CRDS))
    kubectl("wait", "--for=condition=Established", WAIT, "--filename", str(CRDS))


@pytest.fixture(scope="session")
def optional_apis(kubectl: Run) -> None:
    """LeaderWorkerSets, HTTPRoutes and ScaledObjects are served, as where their controllers are installed."""
    install_optional_apis(kubectl)


@pytest.fixture
def namespace(api: client.ApiClient) -> Iterator[str]:
    """A new one, at the restricted pod-security level, whose default service account is there."""
    core = client.CoreV1Api(api)
    name = f"test-{uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    core.create_namespace({"metadata": {"name": name, "labels": labels}})
    until("a service account", lambda: core.list_namespaced_service_account(name).items)
    yield name
    core.delete_namespace(name)


@pytest.fixture
def pods(api: client.ApiClient, namespace: str) -> Iterator[Pods]:
    player = Pods(api=api, namespace=namespace)
    yield player
    player.forget()
