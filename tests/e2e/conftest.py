"""A cluster whose node really runs pods, with our own images and the chart in it; as root, `make e2e`."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from cluster import binaries
from cluster.commands import WAIT, Run, runner
from cluster.real import programs
from cluster.real.cluster import RealCluster
from cluster.real.node import complain_of_another
from figures import Figures
from in_cluster import ROOT, SYSTEM, InCluster
from our_images import REPOSITORY, push, tag

HERE = Path(__file__).parent
ORDER = ["test_node", "test_operator", "test_serving", "test_faults_to_the_end", "test_chain"]
"""Of modules: what is soon seen first. Others follow."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [each for each in items if each.path.parent == HERE]
    ours.sort(key=lambda each: ORDER.index(each.path.stem) if each.path.stem in ORDER else len(ORDER))
    items[:] = [*(each for each in items if each.path.parent != HERE), *ours]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    try:
        programs.complain()
        complain_of_another()
    except SystemExit as said:
        pytest.exit(str(said), returncode=1)
    started = RealCluster(folder=tmp_path_factory.mktemp("cluster") / "real")
    try:
        started.folder.mkdir()
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="session")
def kubectl(cluster: RealCluster) -> Run:
    return runner(binaries.find("kubectl"), cluster.plane.kubeconfig)


@pytest.fixture(scope="session")
def helm(cluster: RealCluster) -> Run:
    return runner(binaries.find("helm"), cluster.plane.kubeconfig)


@pytest.fixture(scope="session")
def operator(helm: Run, kubectl: Run) -> None:
    """The chart, as install.md has it, with images of the cluster's registry; its pod is ready."""
    push("operator")
    kubectl("create", "namespace", SYSTEM, check=False)
    kubectl("label", "namespace", SYSTEM, "pod-security.kubernetes.io/enforce=restricted")
    images = {"operator": "operator", "trainer": "trainer", "converter": "converter", "server": "server-cpu"}
    settings = [f"images.{name}.repository={REPOSITORY}/{image}" for name, image in images.items()]
    settings += [f"images.{name}.tag={tag(image)}" for name, image in images.items()]
    # Pods trust the registry that they push to.
    settings += ["egress.caBundle.configMap=kube-root-ca.crt"]
    sets = [word for setting in settings for word in ("--set", setting)]
    chart = str(ROOT / "helm/finetune-operator")
    helm("upgrade", "--install", "finetune-operator", chart, "--namespace", SYSTEM, *sets, "--wait", WAIT)


@pytest.fixture(scope="session")
def trainer_image(cluster: RealCluster) -> None:
    """It is in the registry."""
    assert cluster.others["registry"].running
    push("trainer")


@pytest.fixture(scope="session")
def images(cluster: RealCluster) -> None:
    """All that jobs and deployments run are in the registry."""
    assert cluster.others["registry"].running
    push("trainer", "converter", "server-cpu")


@pytest.fixture(scope="session")
def server_image(cluster: RealCluster) -> None:
    assert cluster.others["registry"].running
    push("server-cpu")


@pytest.fixture(scope="session")
def figures() -> Figures:
    return Figures(file=ROOT / "build/e2e.json")


@pytest.fixture(scope="session")
def namespaces(cluster: RealCluster, kubectl: Run) -> Callable[[], AbstractContextManager[InCluster]]:
    """Makes restricted namespaces with a claim `models`."""

    @contextmanager
    def new() -> Iterator[InCluster]:
        there = InCluster(kubectl=kubectl, volumes=cluster.volumes)
        there.create()
        try:
            yield there
        finally:
            there.delete()

    return new


@pytest.fixture
def empty(namespaces: Callable[[], AbstractContextManager[InCluster]]) -> Iterator[InCluster]:
    with namespaces() as there:
        yield there


@pytest.fixture
def place(empty: InCluster) -> InCluster:
    """One whose claim holds the demo's base model and dataset."""
    empty.fill()
    return empty


@pytest.fixture(scope="module")
def shared_place(namespaces: Callable[[], AbstractContextManager[InCluster]]) -> Iterator[InCluster]:
    """The same for all tests of a module."""
    with namespaces() as there:
        there.fill()
        yield there
