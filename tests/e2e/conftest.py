"""A cluster whose node really runs pods, with our own images and the chart in it; as root, `make e2e`."""

import shutil
from collections.abc import Iterator

import pytest
from cluster import binaries
from cluster.commands import WAIT, Run, runner
from cluster.real import programs
from cluster.real.cluster import RealCluster
from demo_base import built_tiny_base
from in_cluster import ROOT, SYSTEM, InCluster
from our_images import REPOSITORY, push, tag


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    try:
        programs.complain()
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
    # The node has as many CPUs as the example's processes ask for; pods trust the registry that they push to.
    settings += ["resources.requests.cpu=0", "egress.caBundle.configMap=kube-root-ca.crt"]
    sets = [word for setting in settings for word in ("--set", setting)]
    chart = str(ROOT / "helm/finetune-operator")
    helm("upgrade", "--install", "finetune-operator", chart, "--namespace", SYSTEM, *sets, "--wait", WAIT)


@pytest.fixture(scope="session")
def images(cluster: RealCluster) -> None:
    """What jobs and deployments run is in the registry."""
    assert cluster.others["registry"].running
    push("trainer", "converter")


@pytest.fixture(scope="session")
def server_image(cluster: RealCluster) -> None:
    assert cluster.others["registry"].running
    push("server-cpu")


@pytest.fixture
def empty(cluster: RealCluster, kubectl: Run) -> Iterator[InCluster]:
    """A restricted namespace with a claim `models`."""
    there = InCluster(kubectl=kubectl, volumes=cluster.volumes)
    there.create()
    yield there
    there.delete()


@pytest.fixture
def place(empty: InCluster) -> InCluster:
    """One whose claim holds the demo's base model and dataset."""
    shutil.copytree(built_tiny_base(), empty.volume / "models/tiny-base")
    (empty.volume / "datasets").mkdir()
    shutil.copy(ROOT / "examples/data/faq.jsonl", empty.volume / "datasets")
    empty.hand_over()
    return empty
